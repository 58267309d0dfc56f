"""What a training leaves on the disk: weights, stages of them, and the state from which it can go on.

lenet.safetensors             the weights at the end
lenet-400.safetensors         the weights after 400 steps (`--save-every`)
lenet.training.safetensors    weights, optimiser and step; removed once the training is finished
"""

import importlib.metadata
import json
from pathlib import Path
from typing import Any, Protocol

from jleak import weights
from jleak.audit.training.plan import Training
from jleak.check import InputError
from jleak.training import State


class Plan(Protocol):
    """The settings of any training."""

    seed: int

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON-ready names and numbers."""


def stage_path(out: Path, step: int) -> Path:
    """Where the weights after that many steps go.

    >>> stage_path(Path("a/lenet.safetensors"), 400).name
    'lenet-400.safetensors'
    """
    return out.with_name(f"{out.stem}-{step}{out.suffix}")


def state_path(out: Path) -> Path:
    """Where the state of a training goes that is not finished."""
    return out.with_name(f"{out.stem}.training{out.suffix}")


def check_place(out: Path, *, resume: bool) -> None:
    """Checks that a training may write to `out`.

    Raises:
      InputError: it holds another one's work, or there is no such folder.
    """
    if out.suffix != ".safetensors":
        raise InputError(f"weights are written as safetensors, got --out {out}; write {out}.safetensors")
    if not out.parent.is_dir():
        raise InputError(
            f"{out} cannot be written: {out.parent} is no folder; make it, or name another --out"
        )
    if out.exists():
        raise InputError(f"{out} exists; name another file with --out, or remove it")
    state = state_path(out)
    if state.exists() and resume:
        return
    if state.exists():
        raise InputError(
            f"{state} is left of a training that was stopped; add --resume to go on with it, name another "
            "file with --out, or remove it"
        )
    for path in sorted(out.parent.iterdir()):
        name = path.stem.removeprefix(f"{out.stem}-")
        if path.suffix == out.suffix and name != path.stem and name.isdigit():
            raise InputError(
                f"{path} is a stage of another training to {out.name}; name another file with --out, or "
                "remove it"
            )


def save_state(out: Path, plan: Plan, state: Any) -> None:
    """Writes the state from which the training can go on."""
    weights.save(state_path(out), state, {"settings": settings(plan)})


def load_state(out: Path, plan: Plan, like: Any) -> Any:
    """The state of a training that was stopped; None where there is none.

    Raises:
      InputError: it is of other settings, or damaged.
    """
    path = state_path(out)
    if not path.exists():
        return None
    stored = weights.read(path)
    before, now = json.loads(stored.metadata.get("settings", "{}")), plan.to_json()
    other = [f"{name}={before.get(name)}" for name in now if before.get(name) != now[name]]
    if other:
        raise InputError(
            f"{path} is of a training with {', '.join(other)}; resume it with its own settings, name "
            "another file with --out, or remove it"
        )
    return weights.fitted(stored, like)


def save_weights(path: Path, plan: Training, state: State, told: dict[str, Any]) -> None:
    """Writes the weights, and with them how they were made and what they reach."""
    metadata = {
        "model": plan.model,
        "model_args": json.dumps(plan.model_args, sort_keys=True),
        "dataset": plan.dataset,
        "steps": str(int(state.step)),
        "settings": settings(plan),
        "jleak": importlib.metadata.version("jleak"),
    }
    weights.save(path, state.params, metadata | {name: str(value) for name, value in told.items()})


def settings(plan: Plan) -> str:
    """All settings as text."""
    return json.dumps(plan.to_json(), sort_keys=True)
