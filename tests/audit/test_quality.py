"""With no defense the default audit really recovers the digits."""

import numpy as np
import pytest

from jleak.audit.config import AuditConfig, cases

RECOVERED = 30  # dB, of pixels in [0, 1]


@pytest.mark.parametrize("model", ["lenet", "mlp"])
def test_the_better_attack_recovers_the_digits(audited, model):
    default = AuditConfig()
    plain = default.model_copy(
        update={
            "models": [one for one in default.models if one.name == model],
            "defenses": [one for one in default.defenses if one.name == "none"],
            "attacks": [one for one in default.attacks if one.name in ("inverting", "dlg")],
            "seeds": [0],
        }
    )
    plan = cases(plain)
    assert len(plan) == 2
    records = [audited(case)[0] for case in plan]
    assert all(record["status"] == "ok" and len(record["psnr"]) == 4 for record in records)
    best = max(records, key=lambda record: np.median(record["psnr"]))
    assert np.median(best["psnr"]) >= RECOVERED, [record["psnr"] for record in records]
    assert np.median(best["ssim"]) > 0.9
    assert np.median(best["psnr"]) > np.median(best["constant_psnr"]) + 15
    assert best["label_success"] == [1.0] * 4
