"""Three small public generators of MNIST's digits."""

import numpy as np

from jleak.models.norm import EPSILON
from jleak.priors.prior import Prior
from jleak.priors.published.plan import Arrays, Taken, conv, converted, count, dense, same, side_of, square

EPSILONS = {"stage0": ("0", 1e-5), "stage1": ("3", 0.8), "stage2": ("7", 0.8)}
"""Of the conditional one's stages, the number of their BatchNorm and what it adds to the variance."""


def perceptron(arrays: Arrays) -> Prior:
    """A GAN's generator of dense layers, `0`, `2` and so on, ReLU between them (csinva/gan-vae-pretrained).

    Raises:
      InputError: arrays that are missing, too many, or of another shape; all are named.
    """
    return layers(arrays, [str(i) for i in range(0, count(arrays, ""), 2)], "mlp_gan")


def vae(arrays: Arrays) -> Prior:
    """The decoder of a variational autoencoder, `fc3` and `fc4` (the same source; PyTorch's example).

    Raises:
      InputError: arrays that are missing, too many, or of another shape; all are named.
    """
    return layers(arrays, ["fc3", "fc4"], "vae_decoder")


def layers(arrays: Arrays, theirs: list[str], name: str) -> Prior:
    """Dense layers of these names as the generator of that name."""
    widths = [side_of(arrays, f"{one}.weight", 0) for one in theirs]
    args = {"latent": side_of(arrays, f"{theirs[0]}.weight", 1), "hidden": widths[:-1]}
    plan = {}
    for i, one in enumerate(theirs):
        plan[f"params.stage{i}.dense.kernel"] = dense(f"{one}.weight")
        plan[f"params.stage{i}.dense.bias"] = same(f"{one}.bias")
    return converted(arrays, plan, name, square(widths[-1]), args=args)


def conditional(arrays: Arrays) -> Prior:
    """The conditional WGAN-GP of HayatoHongo/MNIST-Conditional-WGAN-gp as `upsampling_gan`.

    Its first layer reads z and an embedding of the class, both linear: embedding and layer are multiplied
    out, and the class stands beside z itself. Its norms add 1e-5, 0.8 and 0.8 to the variance, ours 1e-5: the
    difference is added to the running variances. The first layer's outputs are (c, h, w), ours (h, w, c).

    Raises:
      InputError: arrays that are missing, too many, or of another shape; all are named.
    """
    width = side_of(arrays, "conv_blocks.0.bias", 0)
    classes, embedded = (side_of(arrays, "label_emb.weight", axis) for axis in (0, 1))
    latent = side_of(arrays, "l1.0.weight", 1) - embedded
    small, _, _ = square(side_of(arrays, "l1.0.weight", 0) // width)

    def last(w):  # (..., c h w) to (..., h w c)
        channels_last = np.moveaxis(w.reshape(*w.shape[:-1], width, small, small), -3, -1)
        return channels_last.reshape(w.shape)

    def first(w, embedding):
        return last(np.concatenate([w[:, :latent].T, embedding @ w[:, latent:].T]))

    plan = {
        "params.stage0.dense.kernel": Taken(("l1.0.weight", "label_emb.weight"), first),
        "params.stage0.dense.bias": Taken(("l1.0.bias",), last),
    }
    for stage, (norm, epsilon) in EPSILONS.items():
        plan |= batchnorm(f"conv_blocks.{norm}", stage, epsilon)
    for stage, number in {"stage1": 2, "stage2": 6, "stage3": 9}.items():
        plan[f"params.{stage}.conv.kernel"] = conv(f"conv_blocks.{number}.weight")
        plan[f"params.{stage}.conv.bias"] = same(f"conv_blocks.{number}.bias")
    channels = side_of(arrays, "conv_blocks.9.bias", 0)
    args = {"latent": latent, "width": width}
    return converted(arrays, plan, "upsampling_gan", (4 * small, 4 * small, channels), classes, args)


def batchnorm(theirs: str, stage: str, epsilon: float) -> dict[str, Taken]:
    """A BatchNorm that adds epsilon to the variance as one that adds ours."""
    return {
        f"params.{stage}.norm.scale": same(f"{theirs}.weight"),
        f"params.{stage}.norm.bias": same(f"{theirs}.bias"),
        f"batch_stats.{stage}.norm.mean": same(f"{theirs}.running_mean"),
        f"batch_stats.{stage}.norm.var": Taken(
            (f"{theirs}.running_var",), lambda var: var + (epsilon - EPSILON)
        ),
    }
