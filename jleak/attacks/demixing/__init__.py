"""De-mixing: a batch recovered from one gradient by linear algebra, with a certificate.

`recover` gives the images of an MLP's batch, `features` the classifier's inputs of any model, each with its
certificate (`Recovery`); `demixing` is the same as an attack of the catalog.
"""

from jleak.attacks.demixing.attack import demixing
from jleak.attacks.demixing.certificate import Recovery
from jleak.attacks.demixing.recover import features, recover
from jleak.types import Status

__all__ = ["Recovery", "Status", "demixing", "features", "recover"]
