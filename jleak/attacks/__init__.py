"""Attacks on shared updates. One paper a file; each a recipe of parts from the floors below.

Each factory is `(threat, *, ...) -> Attack`.
"""

from jleak.attacks.cocktail_party import cocktail_party
from jleak.attacks.demixing import demixing
from jleak.attacks.dense import dense
from jleak.attacks.dlg import dlg, idlg
from jleak.attacks.ggl import ggl
from jleak.attacks.gias import gias
from jleak.attacks.gifd import gifd
from jleak.attacks.gradinversion import gradinversion
from jleak.attacks.inverting import inverting, inverting_tuned
from jleak.attacks.multistep import multistep
from jleak.attacks.relative import relative
from jleak.attacks.rgap import rgap

__all__ = [
    "cocktail_party",
    "demixing",
    "dense",
    "dlg",
    "ggl",
    "gias",
    "gifd",
    "gradinversion",
    "idlg",
    "inverting",
    "inverting_tuned",
    "multistep",
    "relative",
    "rgap",
]
