"""Where a batch stands in the middle of its attack, so that a preempted machine repeats one piece at most."""

import io
import json
import time
import zipfile
from typing import Any

import jax
import numpy as np

from jleak.audit import lanes
from jleak.audit.pieces import Keeping, Stand
from jleak.audit.programs import Attacker
from jleak.audit.results import device, versions
from jleak.audit.sweep import place as files
from jleak.audit.sweep.place import Place

ARRAYS = ("alive", "losses", "spent")


def packed(stand: Stand, setting: str) -> bytes:
    """A stand as bytes; `setting` says for which programs it is good."""
    leaves = jax.device_get([raw(leaf) for leaf in jax.tree.leaves(stand.states)])
    arrays = {f"leaf{i}": leaf for i, leaf in enumerate(leaves)}
    arrays |= {f"shot{i}": image for i, image in enumerate(stand.snapshots.values())}
    told = {"piece": stand.piece, "shares": list(stand.snapshots), "setting": setting}
    buffer = io.BytesIO()
    np.savez(buffer, told=json.dumps(told), **arrays, **{name: getattr(stand, name) for name in ARRAYS})
    return buffer.getvalue()


def unpacked(content: bytes, setting: str, attacker: Attacker, like: Any) -> Stand | None:
    """The stand of these bytes, in the structure of `like`; None if it is damaged or of another setting."""
    try:
        with np.load(io.BytesIO(content)) as stored:
            told = json.loads(str(stored["told"]))
            leaves, structure = jax.tree.flatten(like)
            found = [stored[f"leaf{i}"] for i in range(len(leaves))]
            shots = {share: stored[f"shot{i}"] for i, share in enumerate(told["shares"])}
            arrays = {name: stored[name] for name in ARRAYS}
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile):
        return None
    if told["setting"] != setting or any(raw(a).shape != b.shape for a, b in zip(leaves, found, strict=True)):
        return None
    states = [cooked(array, leaf) for array, leaf in zip(found, leaves, strict=True)]
    states = lanes.put(attacker.layout, jax.tree.unflatten(structure, states))
    return Stand(told["piece"], states=states, snapshots=shots, **arrays)


def raw(leaf: jax.Array) -> jax.Array:
    """A key as its numbers; anything else as it is."""
    return jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def cooked(array: np.ndarray, like: jax.Array) -> jax.Array:
    """The opposite of `raw`."""
    if jax.dtypes.issubdtype(like.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(array, impl=jax.random.key_impl(like))
    return jax.numpy.asarray(array, like.dtype)


def setting(attacker: Attacker) -> str:
    """For which programs a stand is good: where they run, how the lanes lie, in which versions."""
    return json.dumps([list(attacker.layout), attacker.pieces, attacker.steps, device(), versions()])


def keeping(where: Place, name: str, seconds: float) -> Keeping:
    """Keeps the stand of a batch in the store.

    Args:
      where: the store.
      name: the batch.
      seconds: between two checkpoints; 0 for after every piece.
    """
    file, last = filed(name), [time.monotonic()]

    def begin(attacker: Attacker, first: Stand) -> Stand:
        content = files.read(where, file)
        return (content and unpacked(content, setting(attacker), attacker, first.states)) or first

    def save(attacker: Attacker, stand: Stand) -> None:
        if time.monotonic() - last[0] >= seconds:
            files.write(where, file, packed(stand, setting(attacker)))
            last[0] = time.monotonic()

    return Keeping(begin, save)


def filed(name: str) -> str:
    """Where the stand of a batch is kept.

    >>> filed("0f12")
    'checkpoints/0f12.npz'
    """
    return f"checkpoints/{name}.npz"
