"""Training of victims: any model on any data set, stopped and resumed to the bit, kept as safetensors."""

from jleak.audit.training.driver import STEPS, Result, Stand, Stopped, run
from jleak.audit.training.plan import Training

__all__ = ["STEPS", "Result", "Stand", "Stopped", "Training", "run"]
