"""A small vision transformer."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn

from jleak.check import InputError, one_of, whole
from jleak.models.build import INITS, activation, initializers, model
from jleak.models.layers import classifier
from jleak.types import Model

EPSILON = 1e-6


def vit(
    shape: tuple[int, int, int],
    classes: int,
    *,
    patch: int = 4,
    width: int = 192,
    depth: int = 6,
    heads: int = 3,
    mlp: int = 384,
    activation_fn: str = "gelu",
    init: str = "torch",
) -> Model:
    """A vision transformer for small images, with learnt positions and a class token.

    Source: Dosovitskiy et al., ICLR 2021 (eq. 1-4): layer norm in front of attention and of the perceptron,
    the classifier on the normalised class token. Patches are embedded by one dense layer, without a
    convolution. Positions and token start normal with standard deviation 0.02.

    Args:
      shape: (h, w, c) of an image; `patch` divides h and w.
      classes: number of classes.
      patch: side of a patch.
      width: width of a token; `heads` divides it.
      depth: number of blocks.
      heads: attention heads of a block.
      mlp: hidden width of a block's perceptron.
      activation_fn: name of the activation in these.
      init: name of the initialisation of the dense layers.

    Raises:
      InputError: a number below one, a patch or heads that do not divide, an unknown activation or
        initialisation.

    >>> import jax
    >>> net = vit((8, 8, 1), 10, width=12, depth=1, mlp=8)
    >>> net.apply(net.init(jax.random.key(0)), jnp.zeros((2, 8, 8, 1))).shape
    (2, 10)
    """
    sizes = {"patch": patch, "width": width, "depth": depth, "heads": heads, "mlp": mlp}
    for name, size in sizes.items():
        whole(name, size)
    if width % heads:
        raise InputError(f"heads must divide width, got heads={heads} and width={width}")
    act = activation(activation_fn)
    net = _ViT(patch, width, depth, heads, mlp, classes, act, one_of("init", init, INITS))
    return model(net, shape, classes)


class _ViT(nn.Module):
    patch: int
    width: int
    depth: int
    heads: int
    mlp: int
    classes: int
    act: Callable
    scheme: str

    @nn.compact
    def __call__(self, x):
        tokens = nn.Dense(self.width, name="embed", **initializers(self.scheme))(patches(x, self.patch))
        small = nn.initializers.normal(0.02)
        first = self.param("token", small, (1, 1, self.width))
        tokens = jnp.concatenate([jnp.repeat(first, len(x), 0), tokens], 1)
        tokens = tokens + self.param("position", small, (1, *tokens.shape[1:]))
        for i in range(self.depth):
            block = _Block(self.width, self.heads, self.mlp, self.act, self.scheme, name=f"block{i}")
            tokens = block(tokens)
        return classifier(self.classes, self.scheme)(layer_norm("norm")(tokens)[:, 0])


class _Block(nn.Module):
    width: int
    heads: int
    mlp: int
    act: Callable
    scheme: str

    @nn.compact
    def __call__(self, x):
        inits = initializers(self.scheme)
        n, tokens, _ = x.shape
        three = nn.Dense(3 * self.width, name="query_key_value", **inits)(layer_norm("norm0")(x))
        q, k, v = jnp.moveaxis(three.reshape(n, tokens, 3, self.heads, -1), 2, 0)
        weights = nn.softmax(jnp.einsum("nqhd,nkhd->nhqk", q, k) * q.shape[-1] ** -0.5)
        mixed = jnp.einsum("nhqk,nkhd->nqhd", weights, v).reshape(n, tokens, self.width)
        x = x + nn.Dense(self.width, name="mix", **inits)(mixed)
        h = self.act(nn.Dense(self.mlp, name="dense0", **inits)(layer_norm("norm1")(x)))
        return x + nn.Dense(self.width, name="dense1", **inits)(h)


def layer_norm(name: str) -> nn.LayerNorm:
    """Layer normalisation, its variance computed in two passes."""
    return nn.LayerNorm(epsilon=EPSILON, use_fast_variance=False, name=name)


def patches(x, side: int):
    """The image's patches, row by row: (n, patches, side * side * c).

    Raises:
      InputError: `side` does not divide height and width.

    >>> patches(jnp.arange(8.0).reshape(1, 2, 4, 1), 2)[0].tolist()
    [[0.0, 1.0, 4.0, 5.0], [2.0, 3.0, 6.0, 7.0]]
    """
    n, h, w, c = x.shape
    if h % side or w % side:
        raise InputError(f"patch must divide the image's height and width, got patch={side} and {h}x{w}")
    x = x.reshape(n, h // side, side, w // side, side, c)
    return jnp.moveaxis(x, 3, 2).reshape(n, -1, side * side * c)
