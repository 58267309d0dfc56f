"""Attacks on shared updates. One paper a file; each a recipe of parts from the floors below.

Each factory is `(threat, *, ...) -> Attack`.
"""

from jleak.attacks.demixing import demixing
from jleak.attacks.dense import dense
from jleak.attacks.dlg import dlg, idlg
from jleak.attacks.inverting import inverting

__all__ = ["demixing", "dense", "dlg", "idlg", "inverting"]
