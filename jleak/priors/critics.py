"""What a generator is trained against: critics that score images, and encoders that guess their latents."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jleak.check import whole
from jleak.models.layers import Parts, convolve, parts
from jleak.priors.build import conditions
from jleak.types import Key, Labels, Params, SoftLabels

Trunk = Callable[[Float[Array, "n h w c"]], Float[Array, "n width"]]
"""A Flax module: from images to features."""


class Network(NamedTuple):
    """A critic or an encoder as two pure functions.

    Attributes:
      init: `key -> params`.
      apply: `(params, x, y) -> scores`, (n,), of a critic; `-> (m, v)`, (n, latent) each, of an encoder. The
        images x are in [-1, 1]; a network of no classes leaves y alone.
    """

    init: Callable[[Key], Params]
    apply: Callable[[Params, Float[Array, "n h w c"], Labels | SoftLabels | None], Array]


def conv(*, width: int = 128) -> nn.Module:
    """Three 3x3 convolutions of stride 2, of width, 2 and 4 width channels, LeakyReLU of slope 0.01.

    Source: the critic of Li, Zhang, Liu and Liu, CVPR 2022, appendix B, for CelebA at 32x32.

    Args:
      width: channels of the first convolution.

    Raises:
      InputError: a width below one.

    >>> import jax
    >>> conv(width=4).init_with_output(jax.random.key(0), jnp.ones((2, 8, 8, 1)))[0].shape
    (2, 16)
    """
    width = whole("width", width)
    return _Conv((width, 2 * width, 4 * width), parts("leaky_relu", "torch", "auto"))


def mlp(*, hidden: int | tuple[int, ...] = (256, 256)) -> nn.Module:
    """Dense layers with LeakyReLU of slope 0.01.

    Args:
      hidden: their widths.

    Raises:
      InputError: a width below one.

    >>> import jax
    >>> mlp(hidden=(8, 4)).init_with_output(jax.random.key(0), jnp.ones((2, 8, 8, 1)))[0].shape
    (2, 4)
    """
    widths = (hidden,) if isinstance(hidden, int) else tuple(hidden)
    return _Mlp(tuple(whole("hidden", width) for width in widths))


TRUNKS: dict[str, Callable[..., nn.Module]] = {"conv": conv, "mlp": mlp}
"""Name -> factory of what critics and encoders are made of."""


def critic(trunk: nn.Module, shape: tuple[int, int, int], classes: int = 0) -> Network:
    """One score an image; with classes f(h) + <v_y, h> of the trunk's features h, v_y learnt for each class.

    Source: Miyato and Koyama, "cGANs with Projection Discriminator", ICLR 2018, eq. 4.

    Args:
      trunk: of `TRUNKS`.
      shape: (h, w, c) of an image.
      classes: of how many classes the labels are; 0 for a critic that ignores them.

    Raises:
      InputError: classes below 0.

    >>> import jax
    >>> net = critic(mlp(), (8, 8, 1), 10)
    >>> net.apply(net.init(jax.random.key(0)), jnp.ones((2, 8, 8, 1)), jnp.array([3, 4])).shape
    (2,)
    """
    whole("classes", classes, least=0)
    return _network(_Critic(trunk, classes), shape, classes)


def encoder(trunk: nn.Module, shape: tuple[int, int, int], classes: int = 0, *, latent: int) -> Network:
    """Mean and log variance of a normal distribution of the latent behind an image.

    Source: Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014, appendix C.2; with classes the
    label is joined to the trunk's features (Sohn et al., NeurIPS 2015).

    Args:
      trunk: of `TRUNKS`.
      shape: (h, w, c) of an image.
      classes: of how many classes the labels are; 0 for an encoder that ignores them.
      latent: entries of a latent.

    Raises:
      InputError: classes below 0, a latent below one.

    >>> import jax
    >>> net = encoder(mlp(), (8, 8, 1), latent=5)
    >>> [u.shape for u in net.apply(net.init(jax.random.key(0)), jnp.ones((2, 8, 8, 1)), None)]
    [(2, 5), (2, 5)]
    """
    whole("classes", classes, least=0)
    return _network(_Encoder(trunk, classes, whole("latent", latent)), shape, classes)


def _network(module: nn.Module, shape: tuple[int, int, int], classes: int) -> Network:
    def init(key):
        return module.init(key, jnp.zeros((1, *shape)), jnp.zeros(1, jnp.int32))

    def apply(params, x, y):
        return module.apply(params, x, y)

    return Network(init, apply)


class _Conv(nn.Module):
    widths: tuple[int, ...]
    made: Parts

    @nn.compact
    def __call__(self, x):
        for i, width in enumerate(self.widths):
            x = self.made.act(convolve(self.made, x, width, str(i), stride=2))
        return x.reshape(len(x), -1)


class _Mlp(nn.Module):
    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x):
        x = x.reshape(len(x), -1)
        for i, width in enumerate(self.widths):
            x = nn.leaky_relu(nn.Dense(width, name=f"dense{i}")(x))
        return x


class _Critic(nn.Module):
    trunk: nn.Module
    classes: int

    @nn.compact
    def __call__(self, x, y):
        h = self.trunk(x)
        score = nn.Dense(1, name="score")(h)[:, 0]
        if not self.classes:
            return score
        v = nn.Dense(h.shape[-1], use_bias=False, name="classes")(conditions(y, self.classes))
        return score + (v * h).sum(-1)


class _Encoder(nn.Module):
    trunk: nn.Module
    classes: int
    latent: int

    @nn.compact
    def __call__(self, x, y):
        h = self.trunk(x)
        if self.classes:
            h = jnp.concatenate([h, conditions(y, self.classes)], -1)
        moments = nn.Dense(2 * self.latent, name="moments")(h)
        return moments[:, : self.latent], moments[:, self.latent :]
