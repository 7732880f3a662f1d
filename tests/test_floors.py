"""The library's shape: imports run down the floors, never up, never round; importing is light and compiles nothing."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import blockprune_lib as bp

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "blockprune_lib"


def floors():
    """{module: floor}, from the table in CONTRIBUTING.md."""
    found = {}
    for row in re.findall(r"^\| (\d) \| (.+) \|$", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE):
        found |= {name.rstrip("/"): int(row[0]) for name in re.findall(r"`([\w/]+)`", row[1])}
    return found


def module_of(path):
    """The first part of a file's path inside the package: kernels/simd.py belongs to kernels."""
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


def imports(path, anywhere=True):
    """The package's own modules that a file imports, inside functions too where *anywhere* is true."""
    tree = ast.parse(path.read_text())
    depth = len(path.relative_to(LIBRARY).parts)
    typing_only = [
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.walk(node)
    ]
    for node in ast.walk(tree) if anywhere else tree.body:
        if not isinstance(node, ast.ImportFrom) or node in typing_only:
            continue
        if node.level == depth:
            names = [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
        elif node.level == 0 and (node.module or "").startswith("blockprune_lib"):
            names = (node.module.split(".")[1:2]) or [alias.name for alias in node.names]
        else:
            continue
        yield from names


FILES = sorted(path for path in LIBRARY.rglob("*.py") if path.name != "__init__.py" or path.parent != LIBRARY)


def test_every_module_has_its_floor():
    named = {module_of(path) for path in FILES if not module_of(path).startswith("_")}
    assert named == set(floors())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_imports_never_run_up(path):
    table = floors()
    own = module_of(path)
    for name in imports(path):
        if own.startswith("_") or name.startswith("_") or name == own:
            continue
        assert table[name] <= table[own], f"{path.name} (floor {table[own]}) imports {name} (floor {table[name]})"


def test_imports_never_run_round():
    # Exercises find their checkers while running: that import is no part of loading the package.
    graph: dict[str, set[str]] = {}
    for path in FILES:
        others = {name for name in imports(path, anywhere=False) if name != module_of(path)}
        graph[module_of(path)] = graph.get(module_of(path), set()) | others
    done: set[str] = set()

    def visit(name, trail):
        assert name not in trail, " imports ".join([*trail, name])
        if name not in done:
            for other in graph.get(name, ()):
                visit(other, [*trail, name])
            done.add(name)

    for name in graph:
        visit(name, [])


def test_files_hold_one_idea_each():
    code = [path for path in FILES if "vocabulary" not in path.name]  # word lists are data
    long = {path.name: n for path in code if (n := len(path.read_text().splitlines())) > 290}
    assert long == {}


def test_importing_is_light_and_reaches_for_nothing():
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise AssertionError('a connection at import')\n"
        "socket.socket.connect = refuse\n"
        "import blockprune_lib\n"
        "heavy = {'numba', 'transformers', 'datasets', 'sklearn', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", bp.__all__)
def test_every_public_name_loads(name):
    assert getattr(bp, name) is not None


def test_hardware_is_the_function_whoever_imports_its_module():
    import blockprune_lib.hardware

    assert callable(blockprune_lib.hardware)
    assert callable(bp.hardware)


def test_an_unknown_name_says_what_there_is():
    with pytest.raises(AttributeError, match="group_norms"):
        _ = bp.group_norm
