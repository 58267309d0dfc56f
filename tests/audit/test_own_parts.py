"""Parts of the user's own, by the name of their module, from the case to the record."""

import math

import numpy as np
import pytest

from jleak.audit import trial
from jleak.audit.built import Programs
from jleak.audit.case import Case


def test_parts_of_the_users_own_run_end_to_end(own, digits):
    case = Case(
        model=f"{own}:tiny", defense=f"{own}:SHRINK", knows="kind", attack=f"{own}:grey", victims=3,
        known_labels=True, attack_args={"level": 0.25},
    )  # fmt: skip
    record, arrays = trial.trial(case, digits, Programs(), lambda part, loss: None)
    truth = arrays["truth"].astype(np.float32)
    assert record["mse"] == pytest.approx(np.mean((truth - 0.25) ** 2, axis=(1, 2, 3, 4)).tolist(), rel=1e-3)
    assert record["loss"] == [0.25] * 3 and record["label_success"] == [1.0] * 3
    assert record["evaluations"] == 0
    half = 10 * math.log10(1 / 0.5**2)  # |u|^2 over |u - u/2|^2
    assert record["snr"] == pytest.approx([half] * 3, abs=1e-3)
