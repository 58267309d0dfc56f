"""What an attacker believes of images before it sees an update: x -> scalar, lower is likelier.

The term of an optimisation attack that keeps the reconstruction natural. Every penalty is a mean over
the batch, so that its weight does not depend on the number of images or their size.
"""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jleak import tree
from jleak.check import InputError, number
from jleak.types import Model, Params


def total_variation(x: Float[Array, "n h w c"]) -> Float[Array, ""]:
    """Anisotropic total variation: mean |x[i+1, j] - x[i, j]| + mean |x[i, j+1] - x[i, j]|.

    Rudin, Osher & Fatemi, Nonlinear total variation based noise removal algorithms, Physica D 1992,
    in the convention of Geiping, Bauermeister, Droege & Moeller, Inverting Gradients, NeurIPS 2020:
    each direction is a mean over its own differences, of all images and channels, so that the
    paper's weights apply. A direction of one pixel has no differences and counts as 0. The
    derivative is taken as 0 where neighbours agree.

    Args:
      x: images in [0, 1], any number of channels.

    Raises:
      InputError: x is not (n, h, w, c).

    >>> print(total_variation(jnp.array([0.0, 1.0, 1.0, 0.5]).reshape(1, 2, 2, 1)))  # 0.75 + 0.75
    1.5
    """
    _check_images(x)
    return _mean_abs(jnp.diff(x, axis=1)) + _mean_abs(jnp.diff(x, axis=2))


def l2(x: Float[Array, "n h w c"]) -> Float[Array, ""]:
    """Mean of the squared pixels: mean x^2, a Gaussian prior on the image.

    Tikhonov regularisation, as the l2 term of Yin, Mallya, Vahdat, Alvarez, Kautz & Molchanov, See
    through Gradients, CVPR 2021, with a squared norm and a mean in place of the norm.

    Args:
      x: images in [0, 1].

    Raises:
      InputError: x is not (n, h, w, c).

    >>> print(l2(jnp.full((2, 4, 4, 3), 0.5)))
    0.25
    """
    _check_images(x)
    return jnp.mean(jnp.square(x))


def total_variation_powered(
    x: Float[Array, "n h w c"], *, inner: float = 2.0, outer: float = 0.5, double_opponents: bool = False
) -> Float[Array, ""]:
    """Total variation with exponents: mean over pixels of (|d_h|^inner + |d_w|^inner)^outer.

    For each pixel and channel, d_h = x[i+1, j] - x[i, j] and d_w = x[i, j+1] - x[i, j], 0 at the last row and
    column. inner 2, outer 1/2 is isotropic (Rudin, Osher & Fatemi, Physica D 1992); 1 and 1 is
    `total_variation` up to how the border is counted; 2 and 5/4 is that of Wang, Song, Zhang, Song, Wang
    & Qi, Beyond Inferring Class Representatives, INFOCOM 2019.

    Source: Geiping et al., breaching (the attacks `modern` and `beyondinfering`). There images are
    normalised, so that a weight means 1/std^(inner * outer) times as much, and neighbours beyond the border
    are 0. The derivative is taken as 0 where it would be infinite.

    Args:
      x: images in [0, 1].
      inner, outer: exponents above 0, static.
      double_opponents: whether the difference of every two channels (R-G, R-B, G-B) counts as a channel too.

    Raises:
      InputError: x is not (n, h, w, c), an exponent is not above 0.

    >>> edge = jnp.array([[0.0, 0.0], [0.0, 1.0]]).reshape(1, 2, 2, 1)
    >>> print(total_variation_powered(edge), total_variation_powered(2 * edge, outer=1.0))
    0.5 2.0
    """
    _check_images(x)
    number("inner", inner, above=0)
    number("outer", outer, above=0)
    if double_opponents:
        pairs = itertools.combinations(range(x.shape[-1]), 2)
        x = jnp.stack([*jnp.moveaxis(x, -1, 0), *(x[..., i] - x[..., j] for i, j in pairs)], -1)
    down = jnp.diff(x, axis=1, append=x[:, -1:])
    across = jnp.diff(x, axis=2, append=x[:, :, -1:])
    return jnp.mean(_power(_power(jnp.abs(down), inner) + _power(jnp.abs(across), inner), outer))


def l2_norm(x: Float[Array, "n h w c"]) -> Float[Array, ""]:
    """Mean over the images of the Euclidean norm ||x_i||_2.

    Yin, Mallya, Vahdat, Alvarez, Kautz & Molchanov, See through Gradients, CVPR 2021, R_l2. For one image of
    P numbers it is sqrt(P l2(x)). The derivative is taken as 0 at 0.

    Args:
      x: images in [0, 1].

    Raises:
      InputError: x is not (n, h, w, c).

    >>> print(l2_norm(jnp.full((2, 4, 4, 1), 0.5)))
    2.0
    """
    _check_images(x)
    return jnp.mean(_norms(x))


def group_consistency(x: Float[Array, "n h w c"], group: Float[Array, "n h w c"]) -> Float[Array, ""]:
    """Mean over the images of the distance from what several runs agree on: ||x_i - E(group)_i||_2.

    Yin et al., See through Gradients, CVPR 2021: searches from several seeds hold each other to their
    consensus. The derivative is taken as 0 at 0.

    Args:
      x: images of one run.
      group: the consensus E(group) of all runs, image by image: their plain mean, or the mean after
        registration (`jleak.registration.group_mean`).

    Raises:
      InputError: x is not (n, h, w, c), or the consensus has another shape.

    >>> print(group_consistency(jnp.full((2, 4, 4, 1), 0.5), jnp.zeros((2, 4, 4, 1))))
    2.0
    """
    _check_images(x)
    if jnp.shape(group) != jnp.shape(x):
        raise InputError(
            f"group must be the consensus of the runs, shaped as x {jnp.shape(x)}, got {jnp.shape(group)}; "
            "give its mean over the runs"
        )
    return jnp.mean(_norms(x - group))


def batch_statistics(
    model: Model, *, first: float = 1.0
) -> Callable[[Params, Float[Array, "n h w c"], PyTree], Float[Array, ""]]:
    """How far the images' BatchNorm statistics are from given ones.

    sum_l ||mu_l(x) - mu*_l||_2 + ||var_l(x) - var*_l||_2, the first layer's terms times `first`.

    Source: Yin et al., See through Gradients, CVPR 2021, R_BN. `first=10` is that of breaching (Geiping et
    al.), of GIAS and of GIFD. The derivative is taken as 0 where two statistics agree.

    Args:
      model: one with BatchNorm.
      first: weight of the layer nearest the image.

    Returns:
      `(params, x, statistics) -> scalar`; statistics are shaped like `params["batch_stats"]`: those running
      averages themselves, or `view.statistics` where the client sends its batch's own.

    Raises:
      InputError: the model has no BatchNorm; the statistics have another structure.
    """
    if model.statistics is None:
        raise InputError(
            "batch_statistics needs a model with BatchNorm (Model.statistics), and this one has none; "
            "use a model with it, or drop the penalty"
        )
    number("first", first, least=0)
    nearest = tree.layout(lambda key: model.init(key)["batch_stats"])[0][:-1]

    def penalty(params, x, statistics):
        _check_images(x)
        apart = tree.difference(model.statistics(params, x), statistics)
        total = jnp.zeros(())
        for path, leaf in jax.tree_util.tree_leaves_with_path(apart):
            layer = tuple(entry.key for entry in path[:-1])
            total += (first if layer == nearest else 1.0) * tree.norm(leaf)
        return total

    return penalty


def epoch_consistency(x: Float[Array, "epochs n h w c"]) -> Float[Array, ""]:
    """How far the epochs' dummy batches are from showing the same images, in whatever order.

    1/E^2 sum over epochs e and f of mean (m_e - m_f)^2, m_e the mean image of epoch e, which does not depend
    on the batch's order; the client shuffles it in every epoch.

    Source: Dimitrov, Balunovic, Konstantinov & Vechev, Data Leakage in Federated Averaging, TMLR 2022, the
    epoch order-invariant prior, with the mean as invariant and l2 as distance (`l2_mean` of its reference
    code, which averages over pixels; weight 1000 there).

    Args:
      x: dummy images, separate for every epoch.

    Raises:
      InputError: x is not (epochs, n, h, w, c).

    >>> one, other = jnp.zeros((1, 2, 4, 4, 1)), jnp.ones((1, 2, 4, 4, 1))
    >>> print(epoch_consistency(jnp.concatenate([one, other])))  # 2 of 4 pairs are 1 apart
    0.5
    """
    if jnp.ndim(x) != 5:
        raise InputError(f"x must be images of every epoch (epochs, n, h, w, c), got {jnp.shape(x)}")
    means = x.mean(1)
    return 2 * jnp.mean(jnp.square(means - means.mean(0)))


def _mean_abs(differences: Float[Array, "n h w c"]) -> Float[Array, ""]:
    """Mean of the magnitudes; 0 where there is nothing to average."""
    return jnp.mean(jnp.abs(differences)) if differences.size else jnp.zeros(())


def _check_images(x: Array) -> None:
    if jnp.ndim(x) != 4:
        raise InputError(f"x must be images (n, h, w, c), got {jnp.shape(x)}; write x[None] for one image")


def _power(x: Array, exponent: float) -> Array:
    """x^exponent of x >= 0, with derivative 0 at 0 where it would be infinite."""
    if float(exponent).is_integer():
        return x ** int(exponent)
    if exponent == 0.5:
        return tree.safe_sqrt(x)
    positive = x > 0
    return jnp.where(positive, jnp.where(positive, x, 1.0) ** exponent, 0.0)


def _norms(x: Float[Array, "n h w c"]) -> Float[Array, " n"]:
    return tree.safe_sqrt(jnp.sum(jnp.square(x), (1, 2, 3)))
