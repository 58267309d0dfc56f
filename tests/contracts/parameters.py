"""The parameters of every model at its defaults with ten classes, counted by hand."""

SMALL, COLOUR, LARGE = (8, 8, 1), (32, 32, 3), (64, 64, 3)


def convolutions(widths, channels, *, bias=1, norm=0, kernel=3):
    """Weights of convolutions in a row, with `bias` and `norm` numbers for every channel beside them."""
    fan_in = [kernel * kernel * c for c in (channels, *widths[:-1])]
    return sum((k + bias + norm) * width for k, width in zip(fan_in, widths, strict=True))


def resnet_c10(blocks, channels):
    """Of a CIFAR ResNet with shortcuts that have no parameters."""
    widths = [16] * (1 + 2 * blocks) + [32] * 2 * blocks + [64] * 2 * blocks
    return convolutions(widths, channels, bias=0, norm=2) + (64 + 1) * 10


def resnet18_c10(channels, stem):
    """Of ResNet-18: its stem and sixteen convolutions, and three shortcuts of 1x1."""
    body = convolutions([64] * 4 + [128] * 4 + [256] * 4 + [512] * 4, 64, bias=0, norm=2)
    shortcuts = sum((width // 2 + 2) * width for width in (128, 256, 512))
    return convolutions([64], channels, bias=0, norm=2, kernel=stem) + body + shortcuts + (512 + 1) * 10


def vgg_c10(repeats, channels):
    widths = [w for w, times in zip((64, 128, 256, 512, 512), repeats, strict=True) for _ in range(times)]
    return convolutions(widths, channels) + (512 + 1) * 10


def alexnet_c10(channels, pixels):
    wide = convolutions([64, 192], channels, kernel=5) + convolutions([384, 256, 256], 192)
    return wide + (pixels * 256 + 1) * 256 + (256 + 1) * 256 + (256 + 1) * 10


def vit_c10(patch, tokens):
    """Embedding, class token, positions, six blocks, a layer norm, the head."""
    block = 2 * 2 * 192 + (192 + 1) * 4 * 192 + (192 + 1) * 384 + (384 + 1) * 192
    return (patch + 1) * 192 + 192 + (tokens + 1) * 192 + 6 * block + 2 * 192 + (192 + 1) * 10


PARAMETERS: dict[str, dict[tuple, int]] = {
    "mlp": {
        SMALL: (64 + 1) * 64 + (64 + 1) * 10,
        COLOUR: (3072 + 1) * 64 + (64 + 1) * 10,
    },
    "lenet": {
        SMALL: (25 + 1) * 12 + 2 * (25 * 12 + 1) * 12 + (2 * 2 * 12 + 1) * 10,
        COLOUR: (75 + 1) * 12 + 2 * (25 * 12 + 1) * 12 + (8 * 8 * 12 + 1) * 10,
    },
    "convnet": {
        SMALL: (9 + 1) * 32 + (9 * 32 + 1) * 64 + (9 * 64 + 1) * 64 + (2 * 2 * 64 + 1) * 10,
        COLOUR: (27 + 1) * 32 + (9 * 32 + 1) * 64 + (9 * 64 + 1) * 64 + (8 * 8 * 64 + 1) * 10,
    },
    "convnet64": {
        COLOUR: convolutions([64, 128, 128] + [256] * 5, 3, norm=2) + (3 * 3 * 256 + 1) * 10,
        LARGE: convolutions([64, 128, 128] + [256] * 5, 3, norm=2) + (7 * 7 * 256 + 1) * 10,
    },
    "resnet20": {SMALL: resnet_c10(3, 1), COLOUR: resnet_c10(3, 3), LARGE: 269_722},
    "resnet32": {SMALL: resnet_c10(5, 1), COLOUR: resnet_c10(5, 3), LARGE: 464_154},
    "resnet18": {SMALL: resnet18_c10(1, 3), COLOUR: 11_173_962, LARGE: resnet18_c10(3, 7)},
    "vgg11": {COLOUR: vgg_c10((1, 1, 2, 2, 2), 3), LARGE: vgg_c10((1, 1, 2, 2, 2), 3)},
    "vgg13": {COLOUR: vgg_c10((2, 2, 2, 2, 2), 3), LARGE: vgg_c10((2, 2, 2, 2, 2), 3)},
    "alexnet": {SMALL: alexnet_c10(1, 1), COLOUR: alexnet_c10(3, 16)},
    "vit": {SMALL: vit_c10(16, 4), COLOUR: vit_c10(48, 64)},
}
"""Parameters at the defaults with ten classes: (weights of a unit + its bias) times units, layer by layer.

As published: 0.27 and 0.46 million of ResNet-20 and 32 (He et al., CVPR 2016, table 6), 11,173,962 of
ResNet-18 with the CIFAR stem, 2.9 million of ConvNet64.
"""
