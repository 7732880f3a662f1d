"""The library's shape: rooms of packages, names with one home, imports that are light. Floors: `make lint`."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import blockprune_lib as bp

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "blockprune_lib"
FILES = sorted(LIBRARY.rglob("*.py"))
FACES = sorted(
    ".".join(path.relative_to(ROOT).parent.parts)
    for path in LIBRARY.rglob("__init__.pyi")
    if "_common" not in path.parts
)


def defined_in(path):
    """The names that a file defines or binds at its top, imports aside."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}
    return found


def listed(face):
    """{public name: file or package that its stub takes it from} of one package."""
    folder = ROOT / face.replace(".", "/")
    tree = ast.parse((folder / "__init__.pyi").read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: folder / (node.module or "").replace(".", "/") for node in imports for alias in node.names}


def test_the_library_is_packages_and_nothing_else():
    beside = {path.name for path in LIBRARY.iterdir() if path.name != "__pycache__" and not path.is_dir()}
    assert beside == {"__init__.py", "__init__.pyi", "py.typed"}
    assert all((path / "__init__.py").exists() for path in LIBRARY.iterdir() if path.is_dir() and path.name[0] != "_")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_files_hold_one_idea_each(path):
    if "vocabulary" not in path.name:  # a list of words is data
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize("face", FACES)
def test_every_public_name_loads_from_where_it_is_defined(face):
    package = importlib.import_module(face)
    names = listed(face)
    assert sorted(names) == sorted(package.__all__) == dir(package)
    for name, home in names.items():
        assert getattr(package, name) is not None
        if home.with_suffix(".py").exists() and face != "blockprune_lib":
            assert name in defined_in(home.with_suffix(".py")), f"{face}.{name} is only passed on by {home.name}.py"
        # Where a file and a name in it are called the same, whichever was bound last would win.
        assert home.name != name or not home.with_suffix(".py").exists()


def test_no_name_has_two_homes():
    homes = {}
    for face in FACES:
        for name, home in listed(face).items():
            if face != "blockprune_lib" and home.with_suffix(".py").exists():
                homes.setdefault(name, set()).add(face)
    twice = {name: found for name, found in homes.items() if len(found) > 1}
    # bench and experiments each read their own records.
    assert twice == {name: {"blockprune_lib.bench", "blockprune_lib.experiments"} for name in ("SCHEMA", "read")}


@pytest.mark.parametrize("path", sorted((ROOT / "book").glob("*.ipynb")), ids=lambda path: path.stem)
def test_chapters_import_from_bp_or_a_package_never_from_a_file(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    for cell in (cell for cell in cells if cell["cell_type"] == "code"):
        for node in ast.walk(ast.parse("".join(cell["source"]))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("blockprune_lib"):
                assert node.module in FACES, f"{path.name} imports from {node.module}"
                assert not [alias.name for alias in node.names if alias.name not in listed(node.module)]
            if isinstance(node, ast.Import):
                assert not [alias.name for alias in node.names if alias.name.startswith("blockprune_lib.")]


def test_importing_is_light_and_reaches_for_nothing():
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise AssertionError('a connection at import')\n"
        "socket.socket.connect = refuse\n"
        "import blockprune_lib\n"
        "heavy = {'numba', 'transformers', 'datasets', 'sklearn', 'matplotlib', 'scipy', 'torch', 'pydantic'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_says_what_there_is():
    with pytest.raises(AttributeError, match="group_norms"):
        _ = bp.group_norm
