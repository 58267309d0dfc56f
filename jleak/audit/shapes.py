"""What shapes the compiled programs of a case, as text: equal text, equal programs.

Settings that are floats (strengths, learning rates) are arguments of the programs, so cases that differ in
them alone share a compilation; so do cases that differ only in a defense of which the attacker knows nothing.
"""

import json
from typing import Any

from jleak.audit.case import Case
from jleak.audit.parts import imitates


def attacker_settings(case: Case) -> str:
    """The settings that shape the attacker's programs: equal text, equal programs, for equal image shapes.

    >>> strong, weak = (Case(attack="dlg", defense="gaussian", defense_args={"sigma": s}) for s in (1.0, 0.1))
    >>> attacker_settings(strong) == attacker_settings(weak) == attacker_settings(Case(attack="dlg"))
    True
    """
    apart = ("seed", "dataset", "draw", "halving", "stop", "weights")
    fields = {k: v for k, v in case.to_json().items() if k not in apart}
    if not imitates(case):
        fields |= {"knows": "nothing", "defense": "none", "defense_args": {}}
    return as_text(fields)


def client_settings(case: Case) -> str:
    """The settings that shape the clients' program, as text.

    >>> client_settings(Case(attack="dlg")) == client_settings(Case(attack="inverting"))
    True
    """
    names = (
        "model",
        "model_args",
        "loss_fn",
        "client",
        "client_args",
        "batch",
        "victims",
        "lanes",
        "defense",
        "defense_args",
    )
    return as_text({name: getattr(case, name) for name in names})


def model_settings(case: Case) -> str:
    """The settings that shape the model, as text."""
    return as_text({name: getattr(case, name) for name in ("model", "model_args")})


def as_text(fields: dict[str, Any]) -> str:
    """Settings as text, the numbers that may be traced left out."""
    for name in {"attack_args", "client_args", "defense_args"} & set(fields):
        fields |= {name: {k: "float" if isinstance(v, float) else v for k, v in fields[name].items()}}
    return json.dumps(fields, sort_keys=True)
