"""Weights and updates of jleak's models as PyTorch lays them out."""

import numpy as np

from jleak.types import Params

FLAT = {"lenet": (8, 8, 12), "convnet64": (3, 3, 256), "resnet18": (1, 1, 512)}
"""(h, w, c) of what the classifier flattens: rows of its kernel are in another order in torch."""


def torch_tensors(tree: Params, order: tuple, flat: tuple[int, int, int]) -> list[np.ndarray]:
    """The tensors in the order in which the model runs them, laid out as torch does.

    >>> kernel = np.arange(6.0).reshape(3, 2)
    >>> torch_tensors({"head": {"kernel": kernel}}, (("head", "kernel"),), (1, 1, 3))[0].tolist()
    [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]
    """

    def laid(path):
        leaf = tree
        for name in path:
            leaf = leaf[name]
        leaf = np.asarray(leaf)
        if leaf.ndim == 4:
            return leaf.transpose(3, 2, 0, 1)
        if leaf.ndim == 2:
            return leaf.reshape(*flat, -1).transpose(3, 2, 0, 1).reshape(leaf.shape[1], -1)
        return leaf

    return [laid(path) for path in order]


def one(updates: Params, i: int) -> Params:
    """The i-th victim's."""
    return {name: one(leaf, i) if isinstance(leaf, dict) else leaf[i] for name, leaf in updates.items()}
