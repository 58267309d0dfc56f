"""Whether a prior serves against a model."""

from jleak.check import InputError
from jleak.priors.load import Prior, bundled, load
from jleak.types import Model


def fitting(prior: str | Prior, model: Model) -> Prior:
    """The prior that a name or file stands for (`load`), if it makes the images that the model takes.

    Raises:
      InputError: its images have another shape, or it draws them from other classes than the model's.

    >>> from jleak.models import mlp
    >>> fitting("digits", mlp((9, 9, 1), 10))
    Traceback (most recent call last):
    jleak.check.InputError: prior 'digits' makes images of (8, 8, 1), the model takes (9, 9, 1); name one of \
that shape or train one with `jleak train-prior`
    """
    named, found = ("given", prior) if isinstance(prior, Prior) else (repr(prior), load(prior))
    made = found.generator
    if made.shape != model.shape:
        raise InputError(
            f"prior {named} makes images of {made.shape}, the model takes {model.shape}; name one of that "
            f"shape{alike(model.shape)} or train one with `jleak train-prior`"
        )
    if made.classes not in (0, model.classes):
        raise InputError(
            f"prior {named} draws images of {made.classes} classes, the model has {model.classes}; name a "
            "prior of the same data set, or one without classes"
        )
    return found


def alike(shape: tuple[int, int, int]) -> str:
    """The bundled priors of that shape, in brackets; nothing where there are none."""
    names = [name for name in bundled() if load(name).generator.shape == shape]
    return f" (bundled: {', '.join(names)})" if names else ""
