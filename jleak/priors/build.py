"""From Flax modules to a `Generator`: one pure function a module, from features to features."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, PyTree

from jleak.check import InputError, whole
from jleak.types import Generator, Labels, Params, SoftLabels


def generator(
    modules: Sequence[nn.Module], *, latent: int, shape: tuple[int, int, int], classes: int = 0
) -> Generator:
    """The modules as the stages of a `Generator`.

    Args:
      modules: Flax modules, each `(h, y) -> h`; the first takes latents, the last makes images in [0, 1].
      latent: entries of z.
      shape: (h, w, c) of an image.
      classes: of how many classes it draws images on demand; 0 for one that ignores y.

    Returns:
      A generator whose variables are those of all stages, `params[collection]["stage<number>"]`.

    Raises:
      InputError: a size below one, or modules that make images of another shape.

    >>> from jleak.priors.perceptron import Layer
    >>> made = generator([Layer(4, unit, image=(2, 2, 1))], latent=3, shape=(2, 2, 1))
    >>> params = made.init(jax.random.key(0))
    >>> params["params"]["stage0"]["dense"]["kernel"].shape, made.apply(params, jnp.zeros((5, 3))).shape
    ((3, 4), (5, 2, 2, 1))
    """
    checked(shape, classes, latent)
    names = [f"stage{i}" for i in range(len(modules))]
    some = jax.ShapeDtypeStruct((2, latent), jnp.float32)  # of one image BatchNorm has no moments
    y = jnp.zeros(2, int) if classes else None

    def init(key):
        made, h = {}, some
        for name, module, one in zip(names, modules, jax.random.split(key, len(modules)), strict=True):
            variables = module.init(one, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), h), y)
            made[name] = variables
            h = jax.eval_shape(module.apply, variables, h, y)
        kinds = {kind: None for variables in made.values() for kind in variables}
        return {kind: {name: v[kind] for name, v in made.items() if kind in v} for kind in kinds}

    stages = tuple(_stage(module, name) for module, name in zip(modules, names, strict=True))
    variables = jax.eval_shape(init, jax.random.key(0))
    made = Generator(init, stages, latent, tuple(shape), classes)
    out = jax.eval_shape(made.apply, variables, some, y).shape
    if out != (2, *shape):
        raise InputError(
            f"the modules make images of {out[1:]}, wanted is {tuple(shape)}; change the last one"
        )
    if "batch_stats" not in variables:
        return made
    return made._replace(statistics=batch_statistics(modules, names))


def _stage(module: nn.Module, name: str) -> Callable[..., Array]:
    """`(params, h, y) -> h` of one module."""

    def stage(params, h, y=None):
        return module.apply(own(params, name), h, y)

    return stage


def own(params: Params, name: str) -> PyTree:
    """The variables of one stage.

    >>> own({"params": {"stage0": 1, "stage1": 2}, "batch_stats": {"stage0": 3}}, "stage1")
    {'params': 2}
    """
    return {kind: tree[name] for kind, tree in params.items() if name in tree}


def batch_statistics(modules: Sequence[nn.Module], names: Sequence[str]) -> Callable[..., PyTree]:
    """`(params, z, y) -> statistics` at every BatchNorm layer, shaped like `params["batch_stats"]`."""

    def statistics(params, z, y=None):
        found, h = {}, z
        for module, name in zip(modules, names, strict=True):
            h, seen = module.apply(own(params, name), h, y, mutable=["batch_stats"])
            found |= {name: seen["batch_stats"]} if seen else {}
        return found

    return statistics


def conditions(y: Labels | SoftLabels | None, classes: int) -> Float[Array, "n classes"]:
    """Labels as distributions over the classes, one row an image.

    Raises:
      InputError: there are no labels.

    >>> conditions(jnp.array([1]), 3).tolist()
    [[0.0, 1.0, 0.0]]
    """
    if y is None:
        raise InputError(
            f"this generator draws images of {classes} classes on demand and was given no labels; give y, or "
            "use a generator with classes=0"
        )
    return y if jnp.ndim(y) == 2 else jax.nn.one_hot(y, classes)


def joined(z: Float[Array, "n latent"], y: Labels | SoftLabels | None, classes: int) -> Float[Array, "n k"]:
    """z, and beside it the distribution over the classes where there are any.

    A learnt embedding of the class is the same, as the dense layer that follows is linear.

    >>> joined(jnp.ones((1, 1)), jnp.array([1]), 2).tolist(), joined(jnp.ones((1, 1)), None, 0).tolist()
    ([[1.0, 0.0, 1.0]], [[1.0]])
    """
    return jnp.concatenate([z, conditions(y, classes)], -1) if classes else z


def unit(x: Array) -> Array:
    """(tanh(x) + 1) / 2: what GANs call an image, in [0, 1].

    >>> float(unit(jnp.array(0.0)))
    0.5
    """
    return (jnp.tanh(x) + 1) / 2


def checked(shape: tuple[int, int, int], classes: int, latent: int) -> None:
    """Refuses sizes that no generator has.

    Raises:
      InputError: a shape that is not (height, width, channels), or a number that is too small.

    >>> checked((8, 8, 1), -1, 4)
    Traceback (most recent call last):
    jleak.check.InputError: classes must be >= 0, got classes=-1; use 0 for a generator that ignores them
    """
    if not isinstance(shape, tuple | list) or len(shape) != 3:
        raise InputError(f"shape must be (height, width, channels), got shape={shape}")
    for name, side in zip(("height", "width", "channels"), shape, strict=True):
        whole(name, side)
    whole("classes", classes, least=0, hint="use 0 for a generator that ignores them")
    whole("latent", latent)
