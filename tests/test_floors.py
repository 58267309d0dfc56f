"""The floors of the design: who may import whom, who may compile, and how long a file may grow."""

import ast
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "jleak"

FLOORS = [
    ["types", "tree", "check", "linalg"],
    [
        "models",
        "losses",
        "distances",
        "penalties",
        "registration",
        "metrics",
        "data",
        "weights",
        "torch_file",
    ],
    ["clients", "labels", "priors", "spaces"],
    ["defenses", "search", "leakage"],
    ["attacks", "training"],
    ["catalog"],
    ["audit"],
    ["report", "cli"],
    ["__main__"],
]
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}
SIBLINGS = {
    ("tree", "types"),  # names the types of what it computes with
    ("tree", "check"),  # refuses trees that do not match
    ("cli", "report"),  # shows what it renders
    ("metrics", "weights"),  # reads the weights that LPIPS is published with
    ("metrics", "torch_file"),
}
"""Who may import a neighbour of its own floor after all."""

TRUTHLESS = ("attacks", "labels", "search", "spaces", "distances", "penalties", "registration")
"""What an attack is made of: never sees the truth, so never what compares with it or draws it."""

MOST_LINES_OF_FILE, MOST_LINES_OF_FUNCTION = 300, 40


def violations(root: Path) -> list[str]:
    """Every breach of the floors below `root`, as `file:line: what`."""
    found = []
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        text = path.read_text()
        module = ast.parse(text, str(path))
        part = relative.parts[0].removesuffix(".py")
        breaches = [
            *too_long(text, module),
            *bad_imports(relative, part, module),
            *forbidden_names(part, module),
            *decompositions(part, module),
        ]
        found += [f"{root.name}/{relative}:{line}: {what}" for line, what in sorted(breaches)]
    return found


def too_long(text: str, module: ast.Module):
    lines = len(text.splitlines())
    if lines > MOST_LINES_OF_FILE:
        yield lines, f"file of {lines} lines, at most {MOST_LINES_OF_FILE}"
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and length(node) > MOST_LINES_OF_FUNCTION:
            yield node.lineno, f"{node.name} has {length(node)} lines, at most {MOST_LINES_OF_FUNCTION}"


def length(function: ast.FunctionDef) -> int:
    """Lines of the function without its docstring."""
    first = function.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = first.end_lineno - first.lineno + 1 if documented and ast.get_docstring(function) else 0
    return function.end_lineno - function.lineno + 1 - docstring


def bad_imports(relative: Path, part: str, module: ast.Module):
    for line, name in imports(relative, module):
        package, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        if package == "flax" and part not in ("models", "priors"):
            yield line, "imports flax; only models/ and priors/ know it"
        if package != "jleak" or target == part:
            continue
        if part == "__init__":
            yield line, f"imports {name}; `import jleak` loads nothing"
        elif part not in FLOOR or target not in FLOOR:
            yield line, f"{part if part not in FLOOR else target!r} has no floor; give it one in FLOORS"
        elif FLOOR[target] >= FLOOR[part] and (part, target) not in SIBLINGS:
            yield line, f"floor {FLOOR[part]} imports {name} of floor {FLOOR[target]}"
        elif part in TRUTHLESS and target in ("metrics", "data"):
            yield line, f"imports {name}; an attack never sees the truth"


def imports(relative: Path, module: ast.Module):
    """(line, dotted name) of everything that the file imports, at any depth of it."""
    here = ("jleak", *relative.with_suffix("").parts)
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*here[: len(here) - node.level]] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{source}.{alias.name}"


def forbidden_names(part: str, module: ast.Module):
    for node in ast.walk(module):
        used = {
            ast.Name: lambda n: [n.id],
            ast.Attribute: lambda n: [n.attr],
            ast.ImportFrom: lambda n: [alias.name for alias in n.names],
        }.get(type(node), lambda n: [])(node)
        if {"jit", "pjit"} & set(used) and part != "audit":
            yield node.lineno, "mentions jit; only audit/ compiles"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield node.lineno, "prints"


def decompositions(part: str, module: ast.Module):
    """Uses of JAX's matrix algebra but for norms: under `vmap` it can stand still (`jleak.linalg`)."""
    for line, name in [] if part == "linalg" else uses(module):
        if "linalg" in name[:-1] and name[0] in ("jnp", "jax") and name[-1] != "norm":
            yield line, f"uses {'.'.join(name)}; take it from jleak.linalg"


def uses(module: ast.Module):
    """(line, names) of every dotted name, and of every name that is imported."""
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute):
            yield node.lineno, ast.unparse(node).split(".")
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, [*(node.module or "").split("."), a.name]) for a in node.names)


def test_the_library_keeps_its_floors():
    found = violations(ROOT)
    assert not found, "\n".join(["", *found])


def test_every_part_of_the_library_has_a_floor():
    parts = {
        p.name.removesuffix(".py")
        for p in ROOT.iterdir()
        if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    assert parts - {"__init__"} <= set(FLOOR)


def made_up(tmp_path: Path, files: dict[str, str]) -> list[str]:
    """The violations of a library of these files."""
    for name, text in files.items():
        path = tmp_path / "jleak" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return violations(tmp_path / "jleak")


LONG = "def long():\n" + "    x = 1\n" * 40
DOCUMENTED = 'def short():\n    """' + "Text.\n" * 50 + '"""\n' + "    x = 1\n" * 39

BREACHES = [
    ("tree.py", "import jleak.losses", "jleak/tree.py:1: floor 0 imports jleak.losses of floor 1"),
    ("losses.py", "from jleak import penalties", "losses.py:1: floor 1 imports jleak.penalties of floor 1"),
    ("types.py", "from jleak.tree import dot", "types.py:1: floor 0 imports jleak.tree.dot of floor 0"),
    (
        "clients.py",
        "def f():\n    from jleak.spaces import pixels",
        "clients.py:2: floor 2 imports jleak.spaces",
    ),
    (
        "defenses/a.py",
        "from ..search import descend",
        "defenses/a.py:1: floor 3 imports jleak.search.descend",
    ),
    ("defenses/__init__.py", "from jleak.attacks import dlg", "floor 3 imports jleak.attacks.dlg of floor 4"),
    ("report/a.py", "from jleak.cli import main", "report/a.py:1: floor 7 imports jleak.cli.main of floor 7"),
    ("novel.py", "from jleak.check import number", "novel.py:1: 'novel' has no floor"),
    ("losses.py", "import jleak.novel", "losses.py:1: 'novel' has no floor"),
    ("__init__.py", "from jleak.attacks import dlg", "__init__.py:1: imports jleak.attacks.dlg"),
    (
        "attacks/a.py",
        "from jleak.metrics import psnr",
        "attacks/a.py:1: imports jleak.metrics.psnr; an attack",
    ),
    ("attacks/a.py", "from jleak import data", "attacks/a.py:1: imports jleak.data; an attack"),
    ("clients.py", "import flax.linen as nn", "clients.py:1: imports flax"),
    ("clients.py", "from flax import linen", "clients.py:1: imports flax"),
    ("tree.py", "import jax\n@jax.jit\ndef f(): pass", "tree.py:2: mentions jit"),
    ("tree.py", "from jax import jit", "tree.py:1: mentions jit"),
    ("tree.py", "import jax\nf = jax.jit(abs)", "tree.py:2: mentions jit"),
    ("tree.py", "import jax.numpy as jnp\nf = jnp.linalg.svd", "tree.py:2: uses jnp.linalg.svd; take"),
    ("tree.py", "from jax.scipy.linalg import expm", "tree.py:1: uses jax.scipy.linalg.expm"),
    ("cli.py", "def f():\n    print('x')", "cli.py:2: prints"),
    ("tree.py", LONG, "tree.py:1: long has 41 lines, at most 40"),
    ("tree.py", "x = 1\n" * 301, "tree.py:301: file of 301 lines"),
]


@pytest.mark.parametrize(("name", "text", "message"), BREACHES)
def test_the_checker_finds_a_breach(tmp_path, name, text, message):
    found = made_up(tmp_path, {name: text})
    assert len(found) == 1
    assert message in found[0]


def test_the_checker_finds_every_breach_of_every_file(tmp_path):
    found = made_up(
        tmp_path,
        {"losses.py": "import jleak.cli\nprint(1)\n", "attacks/a.py": "import flax, jleak.audit.case\n"},
    )
    assert [line.split(": ")[0] for line in found] == [
        "jleak/attacks/a.py:1",
        "jleak/attacks/a.py:1",
        "jleak/losses.py:1",
        "jleak/losses.py:2",
    ]


def test_the_checker_passes_what_is_allowed(tmp_path):
    allowed = {
        "__init__.py": '__version__ = "0"',
        "types.py": "import jax",
        "tree.py": "from jleak.types import Key\nimport jax.numpy as jnp\nf = jnp.linalg.norm",
        "models/a.py": "from flax import linen as nn\nfrom jleak.models.b import c\nfrom .b import d",
        "models/b.py": DOCUMENTED,
        "attacks/a.py": "from jleak import search\nfrom jleak.attacks.b import f",
        "audit/a.py": "import jax\nf = jax.jit(abs)\nfrom jleak import metrics",
        "cli.py": "def f(screen):\n    from jleak.report import page\n    screen.print('x')",
    }
    assert made_up(tmp_path, allowed) == []
