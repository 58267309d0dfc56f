"""Files as torch 2.13 writes them, opcode by opcode, without PyTorch."""

import zipfile

from jleak import torch_file


class Code(bytes):
    """Opcodes that leave one value on the pickle's stack."""


def code(value) -> bytes:
    """The opcodes that make a value."""
    match value:
        case Code():
            return value
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            return b"\x8a\x0b" + value.to_bytes(11, "little", signed=True)
        case str():
            return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()
        case tuple():
            return b"(" + b"".join(map(code, value)) + b"t"
        case list():
            return b"(" + b"".join(map(code, value)) + b"l"
        case dict():
            return b"}(" + b"".join(code(k) + code(v) for k, v in value.items()) + b"u"


def pickled(value) -> bytes:
    return b"\x80\x02" + code(value) + b"."


def name(module, what) -> Code:
    return Code(f"c{module}\n{what}\n".encode())


def call(function, *args) -> Code:
    return Code(function + code(args) + b"R")


def tensor(key, numel, shape, strides, *, offset=0, kind="FloatStorage", view=()) -> Code:
    pid = Code(code(("storage", name("torch", kind), key, "cpu", numel, *view)) + b"Q")
    hooks = call(name("collections", "OrderedDict"))
    return call(name("torch._utils", "_rebuild_tensor_v2"), pid, offset, shape, strides, False, hooks)


def parameter(one) -> Code:
    hooks = call(name("collections", "OrderedDict"))
    return call(name("torch._utils", "_rebuild_parameter"), one, True, hooks)


def archive(path, tree, storages, extra=()):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("some/data.pkl", pickled(tree))
        for entry, content in {"byteorder": b"little", "version": b"3\n", **dict(extra)}.items():
            file.writestr(f"some/{entry}", content)
        for key, numbers in storages.items():
            file.writestr(f"some/data/{key}", numbers.tobytes())
    return path


def old(path, tree, storages, system=None):
    magic, version = torch_file.LEGACY
    content = [pickled(v) for v in (magic, version, system or {"little_endian": True}, tree, [*storages])]
    for numbers in storages.values():
        content += [numbers.size.to_bytes(8, "little"), numbers.tobytes()]
    path.write_bytes(b"".join(content))
    return path
