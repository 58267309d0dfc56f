"""The two networks whose features LPIPS compares, as lists of layers numbered as torchvision numbers them."""

from typing import NamedTuple


class Conv(NamedTuple):
    """A convolution with a bias, then a ReLU.

    Attributes:
      index: its number in torchvision's `features`.
      kernel, stride, padding: in both directions.
      tapped: whether what leaves it is compared.
    """

    index: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    tapped: bool = False


class Pool(NamedTuple):
    """The largest of a window."""

    window: int
    stride: int = 2


class Network(NamedTuple):
    """A trunk.

    Attributes:
      layers: from the image on.
      smallest: the least side of an image, in pixels, that leaves something at the end.
      file: what torchvision calls its weights.
      heads: what LPIPS 0.1 calls its own.
    """

    layers: tuple[Conv | Pool, ...]
    smallest: int
    file: str
    heads: str

    @property
    def convolutions(self) -> list[Conv]:
        """Those with weights."""
        return [layer for layer in self.layers if isinstance(layer, Conv)]

    @property
    def tapped(self) -> list[Conv]:
        """Those that are compared."""
        return [layer for layer in self.convolutions if layer.tapped]


def vgg(*blocks: tuple[int, ...]) -> tuple[Conv | Pool, ...]:
    """Blocks of convolutions of 3 x 3, the last of each compared, with pools between.

    >>> vgg((0,), (3,))
    (Conv(index=0, kernel=3, stride=1, padding=1, tapped=True), Pool(window=2, stride=2), Conv(index=3, \
kernel=3, stride=1, padding=1, tapped=True))
    """
    layers = [[*(Conv(i, tapped=i == block[-1]) for i in block), Pool(2)] for block in blocks]
    return tuple(layer for block in layers for layer in block)[:-1]


NETWORKS: dict[str, Network] = {
    "alexnet": Network(
        (
            Conv(0, 11, 4, 2, tapped=True),
            Pool(3),
            Conv(3, 5, 1, 2, tapped=True),
            Pool(3),
            Conv(6, tapped=True),
            Conv(8, tapped=True),
            Conv(10, tapped=True),
        ),
        smallest=31,
        file="alexnet-owt-7be5be79.pth",
        heads="v0.1/alex.pth",
    ),
    "vgg16": Network(
        vgg((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)),
        smallest=16,
        file="vgg16-397923af.pth",
        heads="v0.1/vgg.pth",
    ),
}
"""By name. Both as torchvision has them: VGG-16 without BatchNorm, AlexNet of 2014 ("one weird trick")."""
