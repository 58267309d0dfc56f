"""One case of an audit: every setting by name and number, JSON both ways, and a content hash."""

from dataclasses import dataclass, field
from typing import Any

from jleak import catalog, priors
from jleak.audit.settings import Args, case_of, check_shared, content_hash, put
from jleak.check import InputError, number, one_of
from jleak.defenses import KNOWS
from jleak.weights import fingerprint

PRECISIONS = ("float32", "tensorfloat32", "bfloat16")
"""What float32 matrix products are computed in, where the device has a choice."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row of an audit, complete: the same case gives the same numbers.

    Building one checks every name and number against the catalog and fills in the defaults.

    Attributes:
      dataset: `digits`, `npz:PATH`, `folder:PATH` or `tfds:NAME`.
      model, model_args: the model under attack.
      weights: what the server sends: a safetensors file, such as `jleak train-model` writes. Twelve digits of
        its content's SHA-256 are added: `PATH@DIGEST`. Empty for new weights, from the seed.
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
      halving: whether restarts race: after 1/8, 1/4 and 1/2 of the steps the better half goes on.
      stop: the attacker's own loss at which it is content with a victim and stops; 0 for never.
      seed: fixes data, model (without `weights`), client and attack, each through a stream of its own.
      lanes: how many restarts x victims a device advances at once. Another number rounds differently.
      precision: of the attacker's float32 products, one of `PRECISIONS`. Less is faster on a GPU or TPU and
        finds worse images; a CPU multiplies in float32 whatever it says. Clients and scores are float32.

    Raises:
      InputError: an unknown name, a number out of bounds, weights that cannot be read or have changed; the
        message says which and what to do.

    >>> case = Case(attack="inverting", attack_args={"steps": 100})
    >>> case.attack_args["lr"], Case.from_json(case.to_json()) == case
    (0.1, True)
    """

    dataset: str = "digits"
    model: str = "lenet"
    model_args: Args = field(default_factory=dict)
    weights: str = ""
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
    halving: bool = False
    stop: float = 0.0
    seed: int = 0
    lanes: int = 4
    precision: str = "float32"

    def __post_init__(self):
        kind = check_shared(self, ("batch", "victims", "restarts", "lanes"), "attack", catalog.ATTACKS)
        catalog.typed("known_labels", self.known_labels, bool)
        catalog.typed("halving", self.halving, bool)
        put(self, "stop", float(number("stop", self.stop, least=0)))
        one_of("knows", self.knows, KNOWS)
        one_of("precision", self.precision, PRECISIONS)
        if self.attack_args.get("prior"):
            put(
                self,
                "attack_args",
                self.attack_args | {"prior": priors.fingerprint(self.attack_args["prior"])},
            )
        if self.weights:
            put(self, "weights", fingerprint(self.weights))
        if kind is not None and self.knows == "kind" and kind.adapt is None:
            raise InputError(
                f"defense {self.defense!r} has no rule by which an attacker could estimate its "
                "strength; use knows=nothing or knows=all, or name a jleak.defenses.Kind"
            )

    @property
    def case_id(self) -> str:
        """Twelve hex digits of the SHA-256 of all settings: another setting is another case."""
        return content_hash(self)

    def to_json(self) -> dict[str, Any]:
        """The case as JSON-ready names and numbers."""
        return {k: dict(v) if isinstance(v, dict) else v for k, v in vars(self).items()}

    @staticmethod
    def from_json(fields: dict[str, Any]) -> "Case":
        """The case of these fields; other keys (a record's results) are left aside."""
        return case_of(Case, fields)
