"""What a kind of defense is: the defense, and two ways in which an attacker can imitate it."""

from collections.abc import Callable
from typing import NamedTuple

from jleak.clients import chain
from jleak.types import Defense, View


class Kind(NamedTuple):
    """One defense with the attackers that know of it.

    Attributes:
      defense: `(*, strength, ...) -> Defense`, what the client does.
      adapt: `(view, **options) -> Defense`, the imitation by an attacker who knows the *kind* and
        estimates the strength from the view; `options` are the defense's non-float arguments. None
        where there is no rule.
      belief: `(view, *, strength, ...) -> Defense`, the imitation by an attacker who knows *all*; None
        where it is the defense itself.
    """

    defense: Callable[..., Defense]
    adapt: Callable[..., Defense] | None
    belief: Callable[..., Defense] | None = None


def unimitated(view: View | None = None, **_) -> Defense:
    """The imitation of a zero-mean noise: none, since the noiseless client is its expectation.

    Fresh noise on the dummy update would only blur the objective; a constant draw would be wrong.

    >>> unimitated(sigma=0.1)(sum) is sum
    True
    """
    del view
    return chain()


KNOWS = ("nothing", "kind", "all")
"""What an attacker may know of the defense."""
