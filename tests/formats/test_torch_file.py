"""PyTorch's files without PyTorch."""

import io
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest
from torch_format import Code, archive, call, code, name, old, parameter, pickled, tensor

from jleak import torch_file
from jleak.check import InputError

F32 = np.arange(24, dtype=np.float32)


STORAGES = {
    "0": F32,
    "1": np.array([1.5, -2.0], np.float16),
    "2": np.array([1.5, -2.0], jnp.bfloat16),
    "3": np.array([2**40, -1]),
    "4": np.zeros(0, np.float32),
}


def tree(view=()):
    return {
        "plain": tensor("0", 24, (2, 3, 4), (12, 4, 1), view=view),
        "transposed": tensor("0", 24, (4, 3, 2), (1, 4, 12), view=view),
        "part": tensor("0", 24, (2, 2), (4, 2), offset=16, view=view),
        "scalar": tensor("0", 24, (), (), offset=7, view=view),
        "parameter": parameter(tensor("0", 24, (3,), (1,), view=view)),
        "inner": {"half": tensor("1", 2, (2,), (1,), kind="HalfStorage", view=view), "note": "text"},
        "brain": tensor("2", 2, (2,), (1,), kind="BFloat16Storage", view=view),
        "long": tensor("3", 2, (2,), (1,), kind="LongStorage", view=view),
        "empty": tensor("4", 0, (0, 2), (2, 1), view=view),
        "rest": [1, True, None, (2, "b")],
    }


WANTED = {
    "plain": F32.reshape(2, 3, 4),
    "transposed": F32.reshape(2, 3, 4).T,
    "part": F32.reshape(2, 3, 4)[1, 1:, ::2],
    "scalar": F32[7].reshape(()),
    "parameter": F32[:3],
    "brain": STORAGES["2"],
    "long": STORAGES["3"],
    "empty": np.zeros((0, 2), np.float32),
}


@pytest.mark.parametrize("format_", ["zip", "legacy"])
def test_every_tensor_comes_back_to_the_bit(format_, tmp_path):
    if format_ == "zip":
        found = torch_file.read(archive(tmp_path / "a.pt", tree(), STORAGES))
    else:
        found = torch_file.read(old(tmp_path / "a.pt", tree(view=(None,)), STORAGES))
    for key, wanted in WANTED.items():
        assert (found[key].dtype, found[key].shape) == (wanted.dtype, wanted.shape), key
        assert found[key].tobytes() == wanted.tobytes(), key
        assert found[key].flags.c_contiguous
        assert found[key].flags.writeable
    assert found["inner"]["half"].tolist() == [1.5, -2.0]
    assert found["inner"]["note"] == "text"
    assert found["rest"] == [1, True, None, [2, "b"]]
    assert found.keys() == {*WANTED, "inner", "rest"}


ONE = tensor("0", 24, (24,), (1,))
BAD = {
    "an object": (
        {"model": call(name("os", "system"), "touch ran")},
        "holds os.system, which is not an array and is not run; open it in PyTorch and save",
    ),
    "a whole model": (
        {"m": name("torch.nn.modules.linear", "Linear")},
        "holds torch.nn.modules.linear.Linear",
    ),
    "another type": (
        {"m": tensor("0", 24, (3,), (1,), kind="DoubleStorage")},
        "holds a torch.DoubleStorage; read",
    ),
    "beyond its storage": ({"m": tensor("0", 24, (24,), (1,), offset=1)}, "or it is damaged"),
    "before its storage": ({"m": tensor("0", 24, (2,), (1,), offset=-1)}, "or it is damaged"),
    "a bomb": (
        {"m": tensor("0", 24, (10**6, 10**6), (0, 0))},
        "repeats its numbers, of shape (1000000, 1000000)",
    ),
    "a storage of another size": ({"m": tensor("0", 23, (3,), (1,))}, "storage 0 has 96 bytes, not 92"),
    "a storage that is not there": ({"m": tensor("9", 24, (3,), (1,))}, "or it is damaged"),
    "a view of a view": ({"m": tensor("0", 24, (3,), (1,), view=(("0", 0, 3),))}, "not a plain storage"),
    "a list": ([ONE], "holds a list, wanted is a dict of arrays"),
    "no tensor at all": ({"m": call(name("torch._utils", "_rebuild_tensor_v2"), 1)}, "or it is damaged"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_named(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    value, message = BAD[case]
    path = archive(tmp_path / "a.pt", value, STORAGES)
    with pytest.raises(InputError) as error:
        torch_file.read(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_files_that_are_no_state_dict(tmp_path):
    path = archive(tmp_path / "good.pt", {"a": ONE}, STORAGES)
    content = path.read_bytes()
    torch_file.read(path)
    plain = io.BytesIO()
    zipfile.ZipFile(plain, "w").close()
    for spoilt, message in (
        (content[:-30], "damaged"),
        (content.replace(F32.tobytes(), F32[::-1].tobytes()), "damaged"),  # seen by the archive's CRC
        (b"", "no PyTorch file"),
        (b"hello world", "no PyTorch file"),
        (pickled({"a": 1}), "no PyTorch file"),
        (pickled(1) + pickled(2), "no file of torch.save"),
        (plain.getvalue(), "but not of PyTorch"),
    ):
        path.write_bytes(spoilt)
        with pytest.raises(InputError, match=message):
            torch_file.read(path)
    with pytest.raises(InputError, match="big-endian"):
        torch_file.read(archive(path, {"a": ONE}, STORAGES, extra={"byteorder": b"big"}.items()))
    with pytest.raises(InputError, match="big-endian"):
        torch_file.read(old(path, {"a": ONE}, {"0": F32}, system={"little_endian": False}))
    with pytest.raises(InputError, match="damaged"):
        torch_file.read(old(path, {"a": ONE}, {"1": F32}))


def test_no_file_changes_the_reader_for_the_next(tmp_path):
    function = name("torch._utils", "_rebuild_tensor_v2")
    state = Code(function + code((None, {"__defaults__": (7,)})) + b"b")  # BUILD sets attributes
    torch_file.read(archive(tmp_path / "a.pt", {"a": ONE, "b": Code(state + b"0N")}, STORAGES))
    found = torch_file.read(archive(tmp_path / "b.pt", {"a": ONE}, STORAGES))
    assert found["a"].tolist() == F32.tolist()
