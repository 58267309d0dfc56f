"""Variation distances: whether two images have the same edges, whatever their brightness.

Of an image v, at pixel (i, j), a channel at a time::

    D1(v) = |(v[i+1,j] - v[i+1,j+1]) + (v[i,j+1] - v[i+1,j+1])|
    D2(v) = |(v[i+2,j] - 2 v[i+2,j+1] + v[i+2,j+2]) + (v[i,j+2] - 2 v[i+1,j+2] + v[i+2,j+2])|

The differences along the two axes are added before the absolute value is taken, so that edges along one
diagonal cancel. That is how the authors' code has it, which is followed here.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jleak.check import InputError
from jleak.metrics.image import check_images

C1, C2 = 1.0, 0.5
"""Weights of the first and of the second differences."""

NOISE = 0.1
"""What the older form divides by, "to map average noise to 1.0"."""


def avd(x: Float[Array, "n h w c"], truth: Float[Array, "n h w c"]) -> Float[Array, " n"]:
    """Absolute variation distance. Lower is better, 0 is best.

    sqrt(mean (D1(x) - D1(truth))^2 + 0.5 mean (D2(x) - D2(truth))^2), means over pixels and channels, of the
    images clipped to [0, 1]. Source: the code of Papadopoulos, Satsangi, Eloul and Pistoia (Absolute
    Variation Distance, ECIR 2024); there images pass through 8 bits (`variation`).

    It does not see brightness, contrast inversion or a constant offset, and it separates noise from
    structure, not one structure from another: on CIFAR-10 a *blank* image scores .18 and another image .19,
    but the true one with Gaussian noise of sd 0.1 scores .30. So a low AVD alone does not mean that an image
    leaked; read it beside `psnr` or `ssim`, and through `avd_rank`.

    Args:
      x: reconstructions in [0, 1].
      truth: the images they are compared with, in [0, 1].

    Returns:
      One number an image; NaN where it holds something not finite.

    Raises:
      InputError: not two batches of float images of one shape, or a side below 3 pixels.

    >>> truth = jnp.linspace(0, 1, 64).reshape(1, 8, 8, 1) ** 2
    >>> print([f"{avd(x, truth)[0]:.3f}" for x in (truth, 1 - truth, jnp.zeros_like(truth))])
    ['0.000', '0.000', '0.166']
    """
    return variation(x, truth)


def avd_2022(x: Float[Array, "n h w c"], truth: Float[Array, "n h w c"]) -> Float[Array, " n"]:
    """The older, normalised form: sqrt(mean (D1(x)/2 - D1(truth)/2)^2 / 0.1). Lower is better, 0 is best.

    About 1 for uniform noise against a photograph. From the same code; presumably the metric of Eloul et al.,
    "Enhancing Privacy against Inversion Attacks in Federated Learning by using Mixing Gradients Strategies",
    arXiv 2204.12495, whose text could not be read. All that `avd` says of blank images holds here too.

    >>> import jax
    >>> noise, flat = jax.random.uniform(jax.random.key(0), (1, 32, 32, 3)), jnp.full((1, 32, 32, 3), 0.5)
    >>> print(f"{avd_2022(noise, flat)[0]:.1f}")
    1.1
    """
    return variation(x, truth, c1=0.25 / NOISE, c2=0.0)


def variation(
    x: Float[Array, "n h w c"],
    truth: Float[Array, "n h w c"],
    *,
    c1: float = C1,
    c2: float = C2,
    clip: bool = True,
    eight_bit: bool = False,
) -> Float[Array, " n"]:
    """`avd` with its settings open.

    Args:
      x, truth: as `avd`.
      c1, c2: weights of the first and of the second differences.
      clip: whether images are clipped to [0, 1] first.
      eight_bit: whether they are then rounded to multiples of 1/255, as where a picture file lies between.

    >>> x = jnp.linspace(0, 0.001, 64).reshape(1, 8, 8, 1)
    >>> float(variation(x, 0 * x, eight_bit=True)[0])
    0.0
    """
    check_images(x=x, truth=truth)
    if min(x.shape[1:3]) < 3:
        raise InputError(
            f"avd needs images of at least 3 x 3 pixels, got {x.shape[1]} x {x.shape[2]}; use mse"
        )
    a, b = (prepared(v, clip, eight_bit) for v in (x, truth))
    first = jnp.mean(jnp.square(slopes(a) - slopes(b)), axis=(1, 2, 3))
    second = jnp.mean(jnp.square(bends(a) - bends(b)), axis=(1, 2, 3))
    return jnp.sqrt(c1 * first + c2 * second)


def avd_match(x: Float[Array, "m h w c"], truth: Float[Array, "n h w c"]) -> Int[Array, " m"]:
    """For each reconstruction the original of least AVD: the authors' protocol for a batch.

    Not one to one: a blank reconstruction and a good one may match the same original (`pair` assigns one to
    one, by MSE). An AVD of NaN is never the least.

    Args:
      x: reconstructions.
      truth: the originals, perhaps another number of them.

    >>> truth = jnp.linspace(0, 1, 2 * 64).reshape(2, 8, 8, 1) ** 4
    >>> print(avd_match(truth[jnp.array([1, 1, 0])], truth))
    [1 1 0]
    """
    distances = table(x, truth)
    return jnp.argmin(jnp.where(jnp.isnan(distances), jnp.inf, distances), axis=1)


def avd_rank(
    x: Float[Array, "n h w c"], truth: Float[Array, "n h w c"], others: Float[Array, "m h w c"]
) -> Int[Array, " n"]:
    """The position of AVD(truth, reconstruction) among AVD(truth, other images): 1 is best, m + 1 is worst.

    What AVD alone does not tell: whether a reconstruction is nearer to its original than unrelated images
    are. A blank image is somewhere in the middle. NaN ranks last.

    Args:
      x: reconstructions.
      truth: their originals, in the same order.
      others: unrelated images, such as the rest of the data set.

    >>> x = jnp.linspace(0, 1, 3 * 64).reshape(3, 8, 8, 1) ** 4
    >>> print(avd_rank(0.9 * x[2:], x[2:], x[:2]), avd_rank(x[:1], x[2:], x[1:2]))
    [1] [2]
    """
    own = avd(x, truth)
    nearer = jnp.sum(table(truth, others) < jnp.where(jnp.isnan(own), jnp.inf, own)[:, None], axis=1)
    return 1 + nearer


def table(x: Float[Array, "m h w c"], truth: Float[Array, "n h w c"]) -> Float[Array, "m n"]:
    """AVD of every image of x with every one of truth, a row at a time."""
    if jnp.shape(x)[1:] != jnp.shape(truth)[1:]:
        raise InputError(
            f"images must be (n, h, w, c) of one height, width and depth, got {jnp.shape(x)} and "
            f"{jnp.shape(truth)}; resize one of them"
        )
    return lax.map(lambda one: avd(jnp.broadcast_to(one, truth.shape), truth), x)


def prepared(v: Float[Array, "n h w c"], clip: bool, eight_bit: bool) -> Float[Array, "n h w c"]:
    """Images clipped and rounded; one that holds something not finite becomes NaN."""
    finite = jnp.isfinite(v).all(axis=(1, 2, 3), keepdims=True)
    v = jnp.where(finite, jnp.clip(v, 0.0, 1.0) if clip else v, jnp.nan)
    return jnp.round(255.0 * v) / 255.0 if eight_bit else v


def slopes(v: Float[Array, "n h w c"]) -> Float[Array, "n i j c"]:
    """D1."""
    here = v[:, 1:, 1:]
    return jnp.abs((v[:, 1:, :-1] - here) + (v[:, :-1, 1:] - here))


def bends(v: Float[Array, "n h w c"]) -> Float[Array, "n i j c"]:
    """D2."""
    here = v[:, 2:, 2:]
    rows = v[:, 2:, :-2] - 2.0 * v[:, 2:, 1:-1] + here
    columns = v[:, :-2, 2:] - 2.0 * v[:, 1:-1, 2:] + here
    return jnp.abs(rows + columns)
