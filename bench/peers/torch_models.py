"""The models that peers attack, in PyTorch, layer by layer as in `jleak.models`."""

from torch import nn
from torch.nn.functional import relu

CLASSES = 10
SHAPE = (3, 32, 32)


class Block(nn.Module):
    """The basic block of ResNet-18 (He et al., CVPR 2016); option B for a shortcut that changes shape."""

    def __init__(self, inside, width, stride):
        super().__init__()
        self.conv0 = nn.Conv2d(inside, width, 3, stride, 1, bias=False)
        self.norm0 = nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.shortcut = nn.Identity()
        if stride != 1 or inside != width:
            convolution = nn.Conv2d(inside, width, 1, stride, bias=False)
            self.shortcut = nn.Sequential(convolution, nn.BatchNorm2d(width))

    def forward(self, x):
        h = relu(self.norm0(self.conv0(x)))
        return relu(self.norm1(self.conv1(h)) + self.shortcut(x))


def lenet():
    """Three 5x5 convolutions of 12 channels with sigmoids; everything uniform in (-0.5, 0.5)."""
    layers, inside = [], SHAPE[0]
    for stride in (2, 2, 1):
        layers += [nn.Conv2d(inside, 12, 5, stride, 2), nn.Sigmoid()]
        inside = 12
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(12 * 8 * 8, CLASSES))
    for weight in model.parameters():
        nn.init.uniform_(weight, -0.5, 0.5)
    return model


def resnet18():
    """ResNet-18 with the stem that is usual on images of 32x32."""
    layers, inside = [nn.Conv2d(SHAPE[0], 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()], 64
    for stage in range(4):
        for i in range(2):
            layers.append(Block(inside, 64 * 2**stage, 2 if stage and not i else 1))
            inside = 64 * 2**stage
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, CLASSES))
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return model


def convnet64():
    """The ConvNet of Inverting Gradients, width 64: 3x3 max pooling after six and eight convolutions."""
    layers, inside = [], SHAPE[0]
    for width in (64, 128, 128, 256, 256, 256, 0, 256, 256, 0):
        if width:
            layers += [nn.Conv2d(inside, width, 3, 1, 1), nn.BatchNorm2d(width), nn.ReLU()]
            inside = width
        else:
            layers.append(nn.MaxPool2d(3))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(inside * 3 * 3, CLASSES))


MODELS = {"lenet": lenet, "resnet18": resnet18, "convnet64": convnet64}
