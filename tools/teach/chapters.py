"""What the kit reads of a chapter: its cells, its exercises, and the register of slides beside it."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

from tools.repository import ROOT

BOOK, KIT, OUT = ROOT / "book", ROOT / "book" / "teach", ROOT / "_build" / "teach"
Notebook = dict[str, Any]
Cell = dict[str, Any]
#: A directive of MyST: its fence, name, argument, and what stands between the fences.
DIRECTIVE = re.compile(r"^(`{3,})\{([\w-]+)\}[ \t]*([^\n]*)\n(.*?)^\1[ \t]*$\n?", re.MULTILINE | re.DOTALL)


def chapters() -> list[str]:
    """The names of all chapters in the order of the contents."""
    order = re.findall(r"^\s*- file: (\S+)$", (ROOT / "_toc.yml").read_text(encoding="utf-8"), re.MULTILINE)
    return [name for name in order if (BOOK / f"{name}.ipynb").is_file()]


def read(path: Path) -> Notebook:
    """A notebook; raises ValueError, naming the file, for what is none."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(notebook["cells"], list):
            raise TypeError("cells must be a list")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{str(path)!r} is not a notebook: {error}") from None
    return dict(notebook)


def source(cell: Cell) -> str:
    """The text of a cell, which notebooks keep as one string or as lines."""
    text = cell.get("source", "")
    return text if isinstance(text, str) else "".join(text)


def tags(cell: Cell) -> list[str]:
    """The tags of a cell."""
    return list(cell.get("metadata", {}).get("tags", []))


def code(notebook: Notebook) -> list[Cell]:
    """The code cells of a notebook."""
    return [cell for cell in notebook["cells"] if cell.get("cell_type") == "code"]


def checked(text: str) -> list[str]:
    """The names of the exercises that a piece of code hands to `check`, in order; none where it does not parse.

    >>> checked("answer = 3\\ncheck('block-count', answer)")
    ['block-count']
    """
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return []
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = [
        call.args[0] for call in calls if isinstance(call.func, ast.Name) and call.func.id == "check" and call.args
    ]
    return [name.value for name in names if isinstance(name, ast.Constant) and isinstance(name.value, str)]


def exercises(chapter: str) -> list[str]:
    """The names of a chapter's exercises, as `check` knows them."""
    stubs = [cell for cell in code(read(BOOK / f"{chapter}.ipynb")) if "exercise-stub" in tags(cell)]
    return [name for cell in stubs for name in checked(source(cell))]
