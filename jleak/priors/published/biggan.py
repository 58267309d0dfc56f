"""BigGAN-deep as `pytorch_pretrained_biggan` publishes it (biggan-deep-128, -256 and -512)."""

import numpy as np

from jleak.priors.biggan import FIRST
from jleak.priors.prior import Prior
from jleak.priors.published.plan import Arrays, Taken, converted, count, hwio, same, side_of

ATTENTION = {"query": "theta", "key": "phi", "value": "g", "out": "o_conv"}
"""Our names of its four 1x1 convolutions, and theirs."""

LAYERS = "generator.layers."


def biggan(arrays: Arrays) -> Prior:
    """The generator and its weights, whose arguments are told by the arrays' shapes.

    Weights under spectral normalisation come as `weight_orig`, `weight_u` and `weight_v`: the weight is
    weight_orig / (u^T weight_orig v), rows being outputs; as `weight` they are taken as they are. Blocks
    double the image in turn, which no array says. Of the last convolution's outputs the first three are the
    image. Of all truncations the statistics are kept; the generator looks at those of truncation 1.

    Source: the state dict of `BigGAN` in pytorch_pretrained_biggan 0.1.1 (Hugging Face).

    Raises:
      InputError: arrays that are missing, too many, or of another shape; all are named.
    """
    layers = range(count(arrays, LAYERS))
    attention = [i for i in layers if any(name.startswith(f"{LAYERS}{i}.snconv1x1") for name in arrays)]
    steered = [i for i in layers if i not in attention]
    width = side_of(arrays, "generator.conv_to_rgb.bias", 0)
    channels = [side_of(arrays, weight(arrays, f"{LAYERS}{i}.conv_0"), 1) for i in steered[::2]]
    channels.append(side_of(arrays, "generator.bn.bias", 0))
    latent, classes = (side_of(arrays, "embeddings.weight", axis) for axis in (0, 1))
    side = FIRST << (len(channels) - 1)
    args = {
        "latent": latent,
        "width": width,
        "multiples": [one // width for one in channels],
        "attention": FIRST << (attention[0] // 2) if attention else 0,
        "rows": side_of(arrays, "generator.bn.running_means", 0),
    }
    plan = start(arrays) | image(arrays, len(layers) + 1)
    for i in layers:
        plan |= (block if i in steered else attend)(arrays, f"{LAYERS}{i}", f"stage{i + 1}")
    return converted(arrays, plan, "biggan_deep", (side, side, 3), classes, args)


def weight(arrays: Arrays, name: str) -> str:
    """The name under which a layer's weight is stored."""
    return f"{name}.weight" if f"{name}.weight" in arrays else f"{name}.weight_orig"


def normalised(arrays: Arrays, name: str, turn=np.transpose) -> Taken:
    """A layer's weight over its largest singular value, then turned."""
    if f"{name}.weight" in arrays:
        return Taken((f"{name}.weight",), turn)
    names = tuple(f"{name}.{part}" for part in ("weight_orig", "weight_u", "weight_v"))
    return Taken(names, lambda w, u, v: turn(w / spectral(w, u, v)))


def spectral(w: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """u^T w v: the largest singular value of w, whose first side are the outputs, by its singular vectors.

    >>> float(spectral(np.diag([3.0, 2.0]), np.array([1.0, 0.0]), np.array([1.0, 0.0])))
    3.0
    """
    return u @ w.reshape(len(w), -1) @ v


def start(arrays: Arrays) -> dict[str, Taken]:
    """Embedding and first layer, whose outputs are (h, w, c) already."""
    return {
        "params.stage0.embed.kernel": Taken(("embeddings.weight",), np.transpose),
        "params.stage0.dense.kernel": normalised(arrays, "generator.gen_z"),
        "params.stage0.dense.bias": same("generator.gen_z.bias"),
    }


def statistics(theirs: str, ours: str) -> dict[str, Taken]:
    """Of one norm."""
    tables = {"mean": "running_means", "var": "running_vars"}
    return {f"constants.{ours}.{name}": same(f"{theirs}.{told}") for name, told in tables.items()}


def block(arrays: Arrays, theirs: str, ours: str) -> dict[str, Taken]:
    """Four norms, each with its convolution."""
    plan = {}
    for j in range(4):
        norm = f"{ours}.norm{j}"
        plan |= statistics(f"{theirs}.bn_{j}", norm)
        for part in ("scale", "offset"):
            plan[f"params.{norm}.{part}.kernel"] = normalised(arrays, f"{theirs}.bn_{j}.{part}")
        plan[f"params.{ours}.conv{j}.kernel"] = normalised(arrays, f"{theirs}.conv_{j}", hwio)
        plan[f"params.{ours}.conv{j}.bias"] = same(f"{theirs}.conv_{j}.bias")
    return plan


def attend(arrays: Arrays, theirs: str, ours: str) -> dict[str, Taken]:
    """Attention's four convolutions, which are dense layers of pixels, and its gain."""
    plan = {f"params.{ours}.gain": Taken((f"{theirs}.gamma",), lambda gamma: gamma.reshape(()))}
    for name, told in ATTENTION.items():
        taken = normalised(arrays, f"{theirs}.snconv1x1_{told}", lambda w: w.reshape(w.shape[:2]).T)
        plan[f"params.{ours}.{name}.kernel"] = taken
    return plan


def image(arrays: Arrays, number: int) -> dict[str, Taken]:
    """The last norm and convolution."""
    ours = f"stage{number}"
    return {
        **statistics("generator.bn", f"{ours}.norm"),
        f"params.{ours}.norm.scale": same("generator.bn.weight"),
        f"params.{ours}.norm.offset": same("generator.bn.bias"),
        f"params.{ours}.conv.kernel": normalised(arrays, "generator.conv_to_rgb", lambda w: hwio(w)[..., :3]),
        f"params.{ours}.conv.bias": Taken(("generator.conv_to_rgb.bias",), lambda bias: bias[:3]),
    }
