"""Made-up runs: records and images without any attack."""

import numpy as np
import pytest

from jleak.audit import store
from jleak.audit.case import Case

BASE = {"model": "mlp", "attack": "inverting", "victims": 2}


@pytest.fixture
def case():
    """`case(field=value, ...)`: two victims of a perceptron, attacked by `inverting`."""
    return lambda **changes: Case(**BASE | changes)


@pytest.fixture
def record():
    """`record(case, psnr=20.0, ...)`: its record; a number stands for all victims."""

    def build(case, **found):
        numbers = {
            "psnr": 20.0, "ssim": 0.5, "mse": 0.01, "label_success": 1.0, "loss": 0.1, "snr": None,
            "constant_psnr": 10.0,
        }  # fmt: skip
        lists = {
            name: value if isinstance(value, list) else [value] * case.victims
            for name, value in (numbers | {k: v for k, v in found.items() if k in numbers}).items()
        }
        return {
            "case_id": case.case_id, **case.to_json(), "status": "ok", **lists, "diverged": 0,
            "evaluations": 10 * case.victims, "seconds": 2.0 * case.victims, "compile_seconds": 0.0,
            "device": "cpu:cpu", "versions": {"jleak": "0.1", "jax": "0.10"},
            **{k: v for k, v in found.items() if k not in numbers},
        }  # fmt: skip

    return build


@pytest.fixture
def made_run(tmp_path, record):
    """`made_run(cases, shape, **found)`: a run of these cases with images drawn at random."""

    def build(cases, shape=(8, 8, 1), **found):
        path = tmp_path / "run"
        store.make(path, {"command": "jleak audit --attack '<b>inverting</b>'"})
        records = {}
        for i, case in enumerate(cases):
            draw = np.random.default_rng([case.seed, i]).random
            size = (case.victims, case.batch, *shape)
            truth = np.random.default_rng(case.seed).random(size)
            images = {
                "truth": truth.astype(np.float16),
                "labels": np.zeros(size[:2], int),
                "reconstruction": draw(size).astype(np.float16),
                "snapshots": draw((3, *size)).astype(np.float16),
                "shares": np.array([0.1, 0.5, 1.0]),
            }
            made = record(case, **found)
            store.add_record(path, records, made, images)
            records[case.case_id] = made
        return path

    return build
