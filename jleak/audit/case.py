"""One case of an audit: every setting by name and number, JSON both ways, and a content hash."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from jleak import catalog
from jleak.check import InputError, number, one_of, whole
from jleak.data import HOW, SOURCES
from jleak.defenses import KNOWS

Args = dict[str, str | int | float | bool | list]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row of an audit, complete: the same case gives the same numbers.

    Building one checks every name and number against the catalog and fills in the defaults.

    Attributes:
      dataset: `digits`, `npz:PATH`, `folder:PATH` or `tfds:NAME`.
      model, model_args: the model under attack.
      loss_fn: the client's loss.
      client, client_args: how the client computes its update (`jleak.clients.CLIENTS`).
      batch: images in a client's batch.
      draw: how a batch is drawn (`jleak.data.draw`).
      victims: independent client batches, attacked side by side.
      defense, defense_args: what the client does to its update; "none" for nothing.
      knows: what the attacker knows of the defense: nothing, kind or all.
      known_labels: whether the threat grants the labels.
      attack, attack_args: the attack.
      restarts: independent starts a victim; the attacker keeps the one of lowest own loss.
      seed: fixes data, model, client and attack, each through a stream of its own.
      lanes: how many restarts x victims share one batch of the program. Another number rounds differently.

    Raises:
      InputError: an unknown name, a number out of bounds; the message says which and what to do.

    >>> case = Case(attack="inverting", attack_args={"steps": 100})
    >>> case.attack_args["lr"], Case.from_json(case.to_json()) == case
    (0.1, True)
    """

    dataset: str = "digits"
    model: str = "lenet"
    model_args: Args = field(default_factory=dict)
    loss_fn: str = "cross_entropy"
    client: str = "fedsgd"
    client_args: Args = field(default_factory=dict)
    batch: int = 1
    draw: str = "random"
    victims: int = 4
    defense: str = "none"
    defense_args: Args = field(default_factory=dict)
    knows: str = "nothing"
    known_labels: bool = False
    attack: str
    attack_args: Args = field(default_factory=dict)
    restarts: int = 1
    seed: int = 0
    lanes: int = 8

    def __post_init__(self):
        for name in ("batch", "victims", "restarts", "lanes"):
            self._set(name, whole(name, getattr(self, name)))
        self._set("seed", whole("seed", self.seed, least=0))
        number("seed", self.seed, below=2**32, hint="a key holds 32 bits")
        catalog.typed("known_labels", self.known_labels, bool)
        source = str(self.dataset).partition(":")[0]
        one_of("data source", source, SOURCES, hint="write digits, npz:PATH, folder:PATH or tfds:NAME")
        one_of("loss_fn", self.loss_fn, catalog.LOSSES)
        one_of("knows", self.knows, KNOWS)
        one_of("draw", self.draw, HOW)
        self._complete("model", catalog.find("model", self.model, catalog.MODELS))
        self._complete("client", catalog.find("client", self.client, catalog.CLIENTS))
        self._complete("attack", catalog.find("attack", self.attack, catalog.ATTACKS))
        if self.defense == "none":
            if self.defense_args:
                raise InputError(f"defense 'none' takes no arguments, got {self.defense_args}")
        else:
            kind = catalog.defense_kind(self.defense)
            self._complete("defense", kind.defense)
            kind.defense(**self.defense_args)  # checks the strengths
            if self.knows == "kind" and kind.adapt is None:
                raise InputError(
                    f"defense {self.defense!r} has no rule by which an attacker could estimate its "
                    "strength; use knows=nothing or knows=all, or name a jleak.defenses.Kind"
                )

    def _complete(self, kind: str, factory) -> None:
        """Checks the arguments' names and fills in the defaults."""
        args = catalog.checked(kind, getattr(self, kind), factory, getattr(self, f"{kind}_args"))
        try:
            args = json.loads(json.dumps(args, allow_nan=False))  # tuples become lists, as JSON has them
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{kind} {getattr(self, kind)!r} takes names, numbers, truth values and lists of these, "
                f"got {args}: {error}"
            ) from error
        self._set(f"{kind}_args", dict(sorted(args.items())))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @property
    def case_id(self) -> str:
        """Twelve hex digits of the SHA-256 of all settings: another setting is another case."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_json(self) -> dict[str, Any]:
        """The case as JSON-ready names and numbers."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(fields: dict[str, Any]) -> "Case":
        """The case of these fields; other keys (a record's results) are left aside."""
        known = {f.name for f in dataclasses.fields(Case)}
        return Case(**{key: value for key, value in fields.items() if key in known})
