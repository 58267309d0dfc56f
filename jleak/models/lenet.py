"""The LeNet of the gradient-leakage literature."""

from flax import linen as nn

from jleak.models.build import HEAD, model
from jleak.models.layers import Parts, classifier, convolve, parts
from jleak.types import Model, Stage

STRIDES, KERNEL = (2, 2, 1), 5


def lenet(
    shape: tuple[int, int, int],
    classes: int,
    *,
    activation_fn: str = "sigmoid",
    init: str = "zhu",
    conv: str = "auto",
) -> Model:
    """Three 5x5 convolutions of 12 channels (strides 2, 2, 1) and a dense classifier.

    The victim of DLG (Zhu et al., NeurIPS 2019), iDLG (Zhao et al. 2020) and LLG (Wainakh et al., PoPETs
    2022), there with sigmoid activations and every weight and bias uniform in (-0.5, 0.5).

    Args:
      shape: (h, w, c) of an image.
      classes: number of classes.
      activation_fn: name of the activation.
      init: name of the initialisation.
      conv: form of the convolution (`jleak.models.conv.convolution`).

    Raises:
      InputError: an unknown activation, initialisation or form.

    >>> import jax
    >>> net = lenet((32, 32, 3), 10)
    >>> sum(leaf.size for leaf in jax.tree.leaves(net.init(jax.random.key(0))))
    15826
    """
    made = parts(activation_fn, init, conv)
    stages = [Stage((f"conv{i}",), stride, KERNEL // 2) for i, stride in enumerate(STRIDES)]
    stages = (*stages, Stage((HEAD,)))
    return model(_LeNet(classes, made), shape, classes, activation=activation_fn, stages=stages)


class _LeNet(nn.Module):
    classes: int
    made: Parts

    @nn.compact
    def __call__(self, x):
        for i, stride in enumerate(STRIDES):
            x = self.made.act(convolve(self.made, x, 12, str(i), kernel=KERNEL, stride=stride))
        return classifier(self.classes, self.made.init)(x.reshape(x.shape[0], -1))
