"""Training of victims: any model on any data set, stopped and resumed to the bit, kept as safetensors."""

from jleak.audit.training.course import STEPS, Stand, Stopped
from jleak.audit.training.driver import Result, run
from jleak.audit.training.plan import Training

__all__ = ["STEPS", "Result", "Stand", "Stopped", "Training", "run"]
