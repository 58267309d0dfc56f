"""De-mixing as an attack of the catalog."""

import jax.numpy as jnp

from jleak.attacks.closed import reconstruction
from jleak.attacks.demixing.recover import recover
from jleak.types import Attack, Certificate, Key, LabelAttack, Reconstruction, Threat, View


def demixing(
    threat: Threat,
    *,
    labels: str | LabelAttack = "auto",
    steps: int = 40,
    starts: int = 4,
    rounds: int = 1,
) -> Attack:
    """The images of a batch from the gradient of an MLP, without optimisation (`recover`).

    The reconstruction is clipped to [0, 1]; its loss is how far the update of the believed client at these
    images is from the one seen, relatively; its certificate is the recovery's.

    Args:
      threat, labels, steps, starts, rounds: as `recover`.

    Raises:
      InputError: as `recover`.
    """
    recovery = recover(threat, labels=labels, steps=steps, starts=starts, rounds=rounds)

    def attack(key: Key, view: View) -> Reconstruction:
        found = recovery(key, view)
        rec = reconstruction(threat, key, view, jnp.clip(found.x, 0.0, 1.0), found.y)
        return rec._replace(certificate=Certificate(found.status, found.residual, found.consistency))

    return attack
