"""Files as PyTorch writes them, and convolutions in its layout, (n, c, h, w), written in NumPy."""

import zipfile

import numpy as np
import pytest


def code(value) -> bytes:
    """The opcodes of pickle, protocol 2, that leave the value on its stack."""
    match value:
        case bytes():
            return value
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            return b"J" + value.to_bytes(4, "little", signed=True)
        case str():
            return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()
        case tuple():
            return b"(" + b"".join(map(code, value)) + b"t"
        case dict():
            return b"}(" + b"".join(code(k) + code(v) for k, v in value.items()) + b"u"


def tensor(key: str, array: np.ndarray) -> bytes:
    strides = tuple(step // 4 for step in array.strides)
    storage = code(("storage", b"ctorch\nFloatStorage\n", key, "cpu", array.size)) + b"Q"
    hooks = b"ccollections\nOrderedDict\n)R"
    args = (storage, 0, array.shape, strides, False, hooks)
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + code(args) + b"R"


@pytest.fixture(scope="session")
def torch_saved():
    """`torch_saved(path, tree)`: a dict of float32 arrays, or of such dicts, as `torch.save` writes it."""

    def save(path, tree):
        arrays = []

        def pickled(value):
            if isinstance(value, dict):
                return code({name: pickled(one) for name, one in value.items()})
            arrays.append(np.ascontiguousarray(value, np.float32))
            return tensor(str(len(arrays) - 1), arrays[-1])

        content = b"\x80\x02" + pickled(tree) + b"."
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("archive/data.pkl", content)
            for number, array in enumerate(arrays):
                file.writestr(f"archive/data/{number}", array.tobytes())
        return path

    return save


@pytest.fixture(scope="session")
def conv():
    """`conv(x, w, b)`: the convolution of (n, c, h, w) by (out, in, k, k) that keeps the size, in float64."""

    def convolve(x, w, b=None):
        pad = w.shape[-1] // 2
        x = np.pad(np.asarray(x, np.float64), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[-2:], (2, 3))
        out = np.einsum("ncijab,ocab->noij", windows, np.asarray(w, np.float64))
        return out if b is None else out + np.asarray(b, np.float64)[:, None, None]

    return convolve
