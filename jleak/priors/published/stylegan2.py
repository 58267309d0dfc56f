"""StyleGAN2 as rosinality's `stylegan2-pytorch` publishes it, and as it converts NVIDIA's weights."""

import math

import numpy as np

from jleak.check import InputError
from jleak.priors.prior import Prior
from jleak.priors.published.plan import Arrays, Taken, converted, count, same, side_of
from jleak.priors.resize import TAPS
from jleak.priors.stylegan2 import CHANNELS, FIRST

SLOWNESS = 0.01
"""The mapping's learning rate over the synthesis', by which its stored weights are too large."""

PREFIX = "g_ema."
FILTERS = (".blur.kernel", ".upsample.kernel")


def stylegan2(arrays: Arrays) -> Prior:
    """The generator and its weights, whose arguments are told by the arrays' shapes.

    Read is the state dict, or the checkpoint with it under `g_ema` and the mean style under `latent_avg`;
    whatever else a checkpoint holds (`g`, `d`) is left alone. Without `latent_avg` the mean is 0, which
    truncation alone would use. Stored weights are multiplied by their layer's 1 / sqrt(inputs), the mapping's
    by 0.01 as well; the stored filters must be [1, 3, 3, 1], which is no array of ours.

    Source: the state dict of `Generator` in rosinality/stylegan2-pytorch, `model.py`.

    Raises:
      InputError: arrays that are missing, too many, or of another shape; all are named; another filter.
    """
    if any(name.startswith(PREFIX) for name in arrays):
        told = {name.removeprefix(PREFIX): a for name, a in arrays.items() if name.startswith(PREFIX)}
        arrays = told | {name: a for name, a in arrays.items() if name == "latent_avg"}
    arrays = unfiltered(arrays)
    doublings, depth = count(arrays, "to_rgbs."), count(arrays, "style.") - 1
    width = side_of(arrays, "input.input", 1)
    side = FIRST << doublings
    last = side_of(arrays, f"convs.{2 * doublings - 1}.activate.bias", 0) if doublings else width
    args = {
        "latent": side_of(arrays, "style.1.weight", 1),
        "depth": depth,
        "width": width,
        "multiplier": 2 if last == width else max(last * side // CHANNELS, 1),
    }
    plan = mapping(arrays, depth)
    for number in range(doublings + 1):
        plan |= size(arrays, number)
    shape = (side, side, side_of(arrays, "to_rgb1.bias", 1))
    return converted(arrays, plan, "stylegan2", shape, args=args)


def unfiltered(arrays: Arrays) -> Arrays:
    """The arrays without the filters.

    Raises:
      InputError: a filter other than [1, 3, 3, 1].
    """
    wanted = np.outer(TAPS, TAPS)
    for name, array in arrays.items():
        if name.endswith(FILTERS) and (array.shape != wanted.shape or abs(array - wanted).max() > 1e-6):
            raise InputError(f"{name} is another filter than [1, 3, 3, 1], which is the one that is built")
    return {name: array for name, array in arrays.items() if not name.endswith(FILTERS)}


def mapping(arrays: Arrays, depth: int) -> dict[str, Taken]:
    """The dense layers and the mean style."""
    latent = side_of(arrays, "style.1.weight", 1)
    zeros = Taken((), lambda: np.zeros(latent, np.float32))
    plan = {"constants.stage0.mean": same("latent_avg") if "latent_avg" in arrays else zeros}
    for i in range(depth):
        plan[f"params.stage0.dense{i}.kernel"] = equalised(f"style.{i + 1}.weight", SLOWNESS)
        bias = Taken((f"style.{i + 1}.bias",), lambda bias: bias * SLOWNESS)
        plan[f"params.stage0.dense{i}.bias"] = bias
    return plan


def equalised(name: str, factor: float = 1.0) -> Taken:
    """The kernel of a dense layer of equalised learning rate: (out, in) / sqrt(in), turned to (in, out)."""
    return Taken((name,), lambda w: w.T * (factor / math.sqrt(w.shape[1])))


def size(arrays: Arrays, number: int) -> dict[str, Taken]:
    """All layers of one size; number 0 is 4x4."""
    ours = f"stage{number + 1}"
    if not number:
        constant = Taken(("input.input",), lambda image: image[0].transpose(1, 2, 0))
        plan = {f"params.{ours}.constant": constant}
        return plan | styled("conv1", "noises.noise_0", ours, "conv") | to_rgb("to_rgb1", ours)
    up, after = 2 * number - 2, 2 * number - 1
    return {
        **styled(f"convs.{up}", f"noises.noise_{up + 1}", ours, "up"),
        **styled(f"convs.{after}", f"noises.noise_{after + 1}", ours, "conv"),
        **to_rgb(f"to_rgbs.{number - 1}", ours),
    }


def styled(theirs: str, noise: str, ours: str, name: str) -> dict[str, Taken]:
    """A modulated convolution, its noise and its bias."""
    return {
        **modulated(f"{theirs}.conv", f"params.{ours}.{name}", up=name == "up"),
        f"params.{ours}.{name}_strength": Taken((f"{theirs}.noise.weight",), lambda w: w.reshape(())),
        f"params.{ours}.{name}_bias": same(f"{theirs}.activate.bias"),
        f"constants.{ours}.{name}_noise": Taken((noise,), lambda noise: noise[0].transpose(1, 2, 0)),
    }


def to_rgb(theirs: str, ours: str) -> dict[str, Taken]:
    """What a size adds to the image."""
    bias = Taken((f"{theirs}.bias",), lambda bias: bias.reshape(-1))
    return {**modulated(f"{theirs}.conv", f"params.{ours}.rgb"), f"params.{ours}.rgb_bias": bias}


def modulated(theirs: str, ours: str, *, up: bool = False) -> dict[str, Taken]:
    """The kernel, (1, out, in, h, w), and the layer that makes the style."""
    axes = (1, 2, 3, 0) if up else (2, 3, 1, 0)

    def turn(w):
        return w[0].transpose(axes) / math.sqrt(np.prod(w.shape[2:]))

    return {
        f"{ours}.kernel": Taken((f"{theirs}.weight",), turn),
        f"{ours}.style.kernel": equalised(f"{theirs}.modulation.weight"),
        f"{ours}.style.bias": same(f"{theirs}.modulation.bias"),
    }
