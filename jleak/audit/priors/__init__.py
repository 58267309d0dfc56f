"""Training of priors: any generator on any data set, stopped and resumed to the bit, kept with its card."""

from jleak.audit.priors.driver import Result, Sheet, run
from jleak.audit.priors.plan import PriorTraining, loaded
from jleak.audit.priors.seen import seen

__all__ = ["PriorTraining", "Result", "Sheet", "loaded", "run", "seen"]
