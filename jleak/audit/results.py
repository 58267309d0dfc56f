"""What a record holds of a case, and how: statuses, certificates, numbers, device and versions."""

import functools
import importlib.metadata
import math
import platform
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool

from jleak.audit.scoring import Score
from jleak.types import Certificate, Reconstruction, Status

MEANING = {
    Status.PROVEN: "the client's image, up to rounding",
    Status.NOISY: "the client's image up to the noise in the update",
    Status.APPROXIMATE: "does not explain the update: an approximation or a mixture",
    Status.CLASS_MEAN: "only the mean of the images that share a label",
    Status.COMMON_OFFSET: "no class is absent, so right up to an offset common to all images",
    Status.RANK_DEFICIENT: "a layer's gradient does not determine every image",
    Status.MASKED: "the update was pruned or masked, and what is left does not determine the image",
    Status.UNREADABLE: "the update is zero or not finite where it is needed",
    Status.AMBIGUOUS: "explains the update, but other images of the same label may as well",
}
"""What each status says of an image, in a few words."""

SEARCHED = ("snapshots", "losses", "spent")
"""Arrays of a search's course (`jleak.audit.pieces.turns`) whose second axis is that of the victims."""


class Told(NamedTuple):
    """What the programs have told of some victims.

    Attributes:
      sent: what the clients share, `jleak.audit.sides.Truth`.
      rec: the reconstructions.
      finite: of each lane whether it ever had a finite loss, by case.
      found: the scores.
    """

    sent: Any
    rec: Reconstruction
    finite: Bool[np.ndarray, "cases lanes"]
    found: Score


def recorded(told: Told, cases: int, note: str = "") -> list[dict[str, Any]]:
    """What the records of so many cases, the first ones, say of their results; `note` follows the status."""
    sent, found = told.sent, told.found
    sound, spent = (one.reshape(len(told.finite), -1) for one in (sent.sound, told.rec.evaluations))
    lost, spent, each = (~told.finite).sum(axis=1), spent.sum(axis=1), sound.shape[1]
    numbers = {name: significant(values) for name, values in found.numbers.items()}
    numbers["snr"] = significant(sent.snr)
    nested = {
        "mixing": {name: significant(values) for name, values in sent.mixing.items()},
        "noise": {name: significant(values) for name, values in sent.noise.items()},
    }
    made, texts = [], {}
    for i in range(cases):
        mine = slice(i * each, (i + 1) * each)
        certificate = found.certificate and Certificate(*(np.asarray(one)[mine] for one in found.certificate))
        ran = sound[i].tobytes(), told.finite[i].tobytes(), certificate and certificate.status.tobytes()
        if ran not in texts:  # most cases say the same
            texts[ran] = status(sound[i], told.finite[i], certificate, note)
        made.append(
            {
                "status": texts[ran],
                **{name: values[mine] for name, values in numbers.items()},
                **{name: {k: v[mine] for k, v in inner.items()} for name, inner in nested.items()},
                "certificate": vouched(certificate),
                "diverged": int(lost[i]),
                "evaluations": int(spent[i]),
            }
        )
    return made


def pictures(told: Told, cases: int, course: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """The images that are kept of so many cases, the first ones, with the course of their search."""
    batches, each = told.sent.batches, len(told.sent.batches.y) // told.finite.shape[0]
    own = {"truth": batches.x, "labels": batches.y, "reconstruction": told.found.x}
    own = {name: compact(array) for name, array in own.items()}
    of_all = {name: array if name == "losses" else compact(array) for name, array in course.items()}
    made = []
    for i in range(cases):
        mine = slice(i * each, (i + 1) * each)
        searched = {k: array[:, mine] if k in SEARCHED else array for k, array in of_all.items()}
        made.append({name: array[mine] for name, array in own.items()} | searched)
    return made


def status(
    sound: Bool[np.ndarray, " victims"],
    finite: Bool[np.ndarray, " lanes"],
    certificate: Certificate | None = None,
    note: str = "",
) -> str:
    """`ok`, or why the numbers cannot be trusted; after it what, if anything, the attack does not vouch for.

    Args:
      sound: whose updates are finite.
      finite: which lanes ever had a finite loss.
      certificate: what the attack vouches for; None for nothing.
      note: what else to say.

    >>> given = Certificate(np.array([[0, 3]]), np.zeros(1), np.zeros((1, 2)))
    >>> status(np.array([True]), np.array([True]), given)
    'not proven: class mean (only the mean of the images that share a label)'
    """
    ran, given = running(sound, finite), set() if certificate is None else set(np.ravel(certificate.status))
    open_ = [s for s in Status if s in given and s != Status.PROVEN]
    told = ", ".join(f"{s.title} ({MEANING[s]})" for s in open_)
    parts = ["" if told and ran == "ok" else ran, told and f"not proven: {told}", note]
    return "; ".join(filter(None, parts))


def vouched(certificate: Certificate | None) -> dict[str, list] | None:
    """A certificate as a record holds it, by victim: each image's status, and the worst of the rest."""
    if certificate is None:
        return None
    return {
        "status": [[Status(int(s)).title for s in victim] for victim in np.asarray(certificate.status)],
        "residual": significant(certificate.residual),
        "consistency": significant(np.max(np.asarray(certificate.consistency), axis=1)),
    }


def running(sound: Bool[np.ndarray, " victims"], finite: Bool[np.ndarray, " lanes"]) -> str:
    """`ok`, or what was not finite."""
    if not np.all(sound):
        return "non-finite update"
    if not finite.any():
        return "non-finite loss"
    return "ok" if finite.all() else "ok, some restarts diverged"


def significant(numbers: Any) -> list[float | None]:
    """The numbers to seven significant digits, which is what float32 holds; None, as in JSON, if not finite.

    >>> significant(np.array([0.1, 2e-9, np.nan], np.float32))
    [0.1, 2e-09, None]
    """
    values = np.asarray(numbers, float).tolist()
    return [float(f"{number:.7g}") if math.isfinite(number) else None for number in values]


def compact(array: Any) -> np.ndarray:
    """Images as float16, which tells 8-bit pixels apart; anything else as it is."""
    return np.asarray(array, np.float16 if array.dtype.kind == "f" else None)


def device() -> str:
    """The device that JAX computes on.

    >>> device().split(":")[0] in ("cpu", "gpu", "tpu")
    True
    """
    first = jax.devices()[0]
    return f"{first.platform}:{first.device_kind}"


def versions() -> dict[str, str]:
    """The versions that the numbers depend on."""
    names = ("jleak", "jax", "jaxlib", "flax", "optax", "numpy")
    return {"python": platform.python_version()} | {name: installed(name) for name in names}


installed = functools.cache(importlib.metadata.version)
"""The version of a package; its files are read once."""
