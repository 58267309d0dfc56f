"""What an attack recovers, in the form of a measure, so that measures can be compared with it."""

import jax.numpy as jnp

from jleak import catalog
from jleak.audit.config import Spec, parse_spec
from jleak.audit.parts import split
from jleak.check import InputError, whole
from jleak.leakage.measure import Leak, Measure
from jleak.metrics import METRICS, pair
from jleak.search.engine import best_of
from jleak.tree import stream
from jleak.types import View


def recovery(*, attack: str = "inverting:steps=200", restarts: int = 1) -> Measure:
    """What an attack recovers of a batch: an oracle's numbers, against the truth, for a measure to predict.

    The attacker takes the client for undefended and knows its loss.

    Args:
      attack: of the catalog, as NAME:argument=value; none that needs a prior.
      restarts: of which it keeps the one of lowest own loss.

    Raises:
      InputError: an unknown attack or argument, or an attack that needs a prior.

    >>> recovery(attack="dlg:steps=10").whole
    'mse'
    """
    whole("restarts", restarts)
    spec = Spec.model_validate(parse_spec(attack))
    factory = catalog.find("attack", spec.name, catalog.ATTACKS)
    args = catalog.checked("attack", spec.name, factory, spec.args)
    if args.get("prior"):
        raise InputError(
            f"a measure is compared with attacks that need no generator, got {attack!r}; name another, such "
            "as inverting:steps=200, or run this one with jleak audit"
        )
    static, floats = split(args)

    def fn(key, subject, batch, known):
        update = subject.client(stream(key, "client"), subject.params, batch)
        rec = best_of(factory(subject.threat, **static, **floats), restarts)(
            stream(key, "attack"), View(subject.params, update)
        )
        x = jnp.clip(rec.x, 0.0, 1.0)
        x = x[pair(x, batch.x)]
        return Leak({}, {name: METRICS[name].fn(x, batch.x).mean() for name in ("mse", "psnr", "ssim")})

    return Measure("batch", fn, "", "mse")


ENTRIES = {**catalog.MEASURES, "recovery": recovery}
"""The measures of the catalog, and what to compare them with."""
