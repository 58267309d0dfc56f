"""What a client can do to its update before sharing it. One idea a file.

Each file has a factory `(*, strength) -> Defense` and a `Kind`, which says how an attacker who knows
of the defense imitates it.
"""

from jleak.defenses.clip import CLIP, clip
from jleak.defenses.dp_sgd import DP_SGD, dp_sgd
from jleak.defenses.kind import KNOWS, Kind
from jleak.defenses.noise import GAUSSIAN, LAPLACE, gaussian, laplace
from jleak.defenses.prune import PRUNE, prune
from jleak.defenses.soteria import SOTERIA, soteria

KINDS: dict[str, Kind] = {
    "clip": CLIP,
    "dp_sgd": DP_SGD,
    "gaussian": GAUSSIAN,
    "laplace": LAPLACE,
    "prune": PRUNE,
    "soteria": SOTERIA,
}
"""name -> the defense and the attackers that know of it."""

__all__ = ["KINDS", "KNOWS", "Kind", "clip", "dp_sgd", "gaussian", "laplace", "prune", "soteria"]
