"""What a server learns of a model's classifier without any client's data: its response to dummy images."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jleak.check import InputError, one_of, whole
from jleak.labels.head import head, logits
from jleak.types import Key, Model, Params, Threat


class Response(NamedTuple):
    """A model's features and probabilities on some images.

    Attributes:
      features: the classifier's input, (n, width).
      p: softmax of the logits, (n, classes).
    """

    features: Float[Array, "n width"]
    p: Float[Array, "n classes"]


def response(model: Model, params: Params, x: Float[Array, "n h w c"]) -> Response:
    """The response of a model with these parameters (its Flax variables); a forward pass only.

    Raises:
      InputError: the model does not tell its features.

    >>> from jleak.models import mlp
    >>> model = mlp((2, 2, 1), 3, hidden=4)
    >>> params = model.init(jax.random.key(0))
    >>> [part.shape for part in response(model, params, jnp.ones((5, 2, 2, 1)))]
    [(5, 4), (5, 3)]
    """
    if model.features is None:
        raise InputError(
            "this model does not tell its classifier's input; give its Model a `features` function"
        )
    features = model.features(params, x)
    return Response(features, jax.nn.softmax(logits(head(model, params["params"]), features)))


def zeros(key: Key, shape: tuple[int, ...]) -> Float[Array, "n h w c"]:
    """Black images."""
    return jnp.zeros(shape)


def ones(key: Key, shape: tuple[int, ...]) -> Float[Array, "n h w c"]:
    """White images."""
    return jnp.ones(shape)


def uniform(key: Key, shape: tuple[int, ...]) -> Float[Array, "n h w c"]:
    """Independent pixels, uniform in [0, 1]."""
    return jax.random.uniform(key, shape)


def natural(key: Key, shape: tuple[int, ...]) -> Float[Array, "n h w c"]:
    """Random images whose amplitude spectrum falls as 1 / frequency, as that of photographs does.

    Source of the spectrum: Field, JOSA A 1987. Mean and contrast vary from image to image; channels share
    most of their variation. Clipped to [0, 1].

    >>> x = natural(jax.random.key(0), (4, 8, 8, 3))
    >>> x.shape, bool((x >= 0).all() & (x <= 1).all())
    ((4, 8, 8, 3), True)
    """
    n, h, w, c = shape
    k_own, k_grey, k_mean, k_contrast = jax.random.split(key, 4)
    fy, fx = np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None]
    frequency = np.maximum(np.hypot(fy, fx), 1 / max(h, w))[None, :, :, None]

    def coloured(key, channels):
        white = jnp.fft.rfft2(jax.random.normal(key, (n, h, w, channels)), axes=(1, 2))
        return jnp.fft.irfft2(white / frequency, s=(h, w), axes=(1, 2))

    x = coloured(k_grey, 1) + 0.3 * coloured(k_own, c)
    x = (x - x.mean((1, 2, 3), keepdims=True)) / (x.std((1, 2, 3), keepdims=True) + 1e-6)
    mean = jax.random.uniform(k_mean, (n, 1, 1, 1), minval=0.25, maxval=0.75)
    contrast = jax.random.uniform(k_contrast, (n, 1, 1, 1), minval=0.1, maxval=0.3)
    return jnp.clip(mean + contrast * x, 0.0, 1.0)


LEAVES = 60
"""Leaves an image."""


def leaves(key: Key, shape: tuple[int, ...]) -> Float[Array, "n h w c"]:
    """Dead leaves: ellipses of one colour each, laid over each other; with edges, as photographs.

    Source of the model: Lee, Mumford, Huang, "Occlusion Models for Natural Images", IJCV 2001: radii with a
    density that falls as 1 / r^3, here from .08 to .6 of the image. Brightness varies from image to image and
    from leaf to leaf, colours less. Clipped to [0, 1].

    >>> x = leaves(jax.random.key(0), (4, 8, 8, 3))
    >>> x.shape, bool((x >= 0).all() & (x <= 1).all())
    ((4, 8, 8, 3), True)
    """
    n, h, w, c = shape
    k_image, k_leaf, k_colour, k_place = jax.random.split(key, 4)
    y, x = jnp.mgrid[:h, :w] / max(h, w)
    grey = 0.47 + 0.2 * jax.random.normal(k_image, (n, 1, 1))
    grey = grey + 0.25 * jax.random.normal(k_leaf, (n, LEAVES + 1, 1))
    colours = grey + 0.1 * jax.random.normal(k_colour, (n, LEAVES + 1, c))
    u = jax.random.uniform(k_place, (5, LEAVES, n, 1, 1))
    radius = (0.08**-2 + (0.6**-2 - 0.08**-2) * u[0]) ** -0.5
    stretch = jnp.exp(0.5 * jax.scipy.special.ndtri(u[1].clip(1e-6, 1 - 1e-6)))
    cos, sin = jnp.cos(jnp.pi * u[2]), jnp.sin(jnp.pi * u[2])

    def lay(image, leaf):
        radius, stretch, cos, sin, cx, cy, colour = leaf
        dx, dy = x - 1.4 * cx + 0.2, y - 1.4 * cy + 0.2
        inside = (stretch * (dx * cos + dy * sin)) ** 2 + ((dy * cos - dx * sin) / stretch) ** 2 < radius**2
        return jnp.where(inside[..., None], colour[:, None, None], image), None

    ground = jnp.broadcast_to(colours[:, 0, None, None], shape)
    given = radius, stretch, cos, sin, u[3], u[4], colours[:, 1:].swapaxes(0, 1)
    return jnp.clip(lax.scan(lay, ground, given)[0], 0.0, 1.0)


DUMMIES: dict[str, Callable[..., Array]] = {
    "leaves": leaves,
    "natural": natural,
    "ones": ones,
    "uniform": uniform,
    "zeros": zeros,
}
"""Dummy images by name: `(key, (n, h, w, c)) -> images`."""

ALIKE = ("ones", "zeros")
"""Dummy images that do not differ from each other."""


def differing(name: str, images: int) -> None:
    """Checks that `images` dummy images of that name show how features differ from image to image.

    Raises:
      InputError: unknown name, fewer than two images, or images all alike.

    >>> differing("natural", 2)
    """
    whole("images", images, least=2)
    if one_of("dummy", name, DUMMIES) in ALIKE:
        raise InputError(
            f"dummy images must differ from each other here, got dummy={name!r}; use leaves, natural "
            "or uniform"
        )


def dummies(threat: Threat, name: str, count: int) -> Float[Array, "n h w c"]:
    """`count` dummy images of that name, the same in every call: they are part of the attack, not of chance.

    Raises:
      InputError: unknown name.

    >>> from jleak.models import mlp
    >>> dummies(Threat(client=None, model=mlp((2, 2, 1), 3)), "ones", 1).shape
    (1, 2, 2, 1)
    """
    draw = DUMMIES[one_of("dummy", name, DUMMIES)]
    return draw(jax.random.key(0), (count, *threat.model.shape))
