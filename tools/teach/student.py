"""The student version of a chapter: no solutions and no answers, the stubs kept, text that any notebook program shows.

    solution cells, and the text between solution-start and solution-end     go
    folds other than hints: the reasons behind a prediction                  go
    cells that show an answer                                                stay, and show nothing: later cells
                                                                             use what they work out
    MyST's directives                                                        become plain Markdown

Each cell that was handed out says so in its metadata, so that `marking` knows which ones a student added.
"""

from __future__ import annotations

import ast
import copy
import json
import re
import shutil
from pathlib import Path
from typing import Any

from blockprune_lib._common.files import write_whole

from .chapters import BOOK, DIRECTIVE, Cell, Notebook, chapters, read, source, tags

#: Calls whose value is what a reader sees.
SHOWS = ("display", "say", "table", "print", "figure")
GIVEN = "blockprune_given"


def student_version(notebook: Notebook, chapter: str) -> Notebook:
    """The notebook as a student gets it."""
    cells, inside = list[Cell](), False
    for cell in notebook["cells"]:
        kept, inside = _of_cell(cell, inside)
        if kept is not None:
            kept["metadata"][GIVEN] = True
            cells.append(kept)
    metadata = copy.deepcopy(notebook.get("metadata", {}))
    metadata["blockprune"] = {**metadata.get("blockprune", {}), "chapter": chapter, "edition": "student"}
    return {**{key: notebook[key] for key in ("nbformat", "nbformat_minor")}, "metadata": metadata, "cells": cells}


def write_students(folder: Path, names: list[str] | None = None) -> list[Path]:
    """Write the student version of each chapter to *folder*, and the records that chapters show; returns the files.

    Raises ValueError for a name that is no chapter's.
    """
    known = chapters()
    wrong = [name for name in names or [] if name not in known]
    if wrong:
        raise ValueError(f"chapters must be of {', '.join(known)}; got {', '.join(wrong)}")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in names or known:
        path = folder / f"{name}.ipynb"
        version = student_version(read(BOOK / f"{name}.ipynb"), name)
        write_whole(path, (json.dumps(version, indent=1, ensure_ascii=False) + "\n").encode())
        written.append(path)
    shutil.copytree(BOOK / "results", folder / "results", dirs_exist_ok=True)
    return written


def _of_cell(cell: Cell, inside: bool) -> tuple[Cell | None, bool]:
    """(the cell as students get it, or None; whether a solution is still open after it)."""
    kept = copy.deepcopy(cell)
    if cell["cell_type"] == "markdown":
        text, inside = _without_solutions(source(cell), inside)
        text = plain(text).strip("\n")
        kept["source"] = text.splitlines(keepends=True)
        return (kept if text.strip() else None), inside
    if inside or "exercise-solution" in tags(cell):
        return None, inside
    if "hide-output" in tags(cell) and "answer" in str(cell["metadata"].get("mystnb", "")):
        kept["source"] = without_display(source(cell)).splitlines(keepends=True)
        kept["metadata"].pop("mystnb", None)
    return kept, False


def _without_solutions(text: str, inside: bool) -> tuple[str, bool]:
    """The text outside solutions, and whether one is open at its end."""
    kept = ""
    while text:
        if inside:
            end = re.search(r"^(`{3,})\{solution-end\}[^\n]*\n\1[ \t]*$\n?", text, re.MULTILINE)
            if end is None:
                return kept, True
            text, inside = text[end.end() :], False
            continue
        start = re.search(r"^(`{3,})\{solution-start\}.*?^\1[ \t]*$\n?", text, re.MULTILINE | re.DOTALL)
        if start is None:
            return kept + text, False
        kept, text, inside = kept + text[: start.start()], text[start.end() :], True
    return kept, inside


def without_display(text: str) -> str:
    """Code without the statements that only show something; what they would have shown is an answer.

    >>> print(without_display("letter = 'b'\\ndisplay(letter)"))
    # The answer is in the book; this cell keeps what later cells use.
    letter = 'b'
    """
    lines = text.splitlines()
    for node in reversed(ast.parse(text).body):
        if isinstance(node, ast.Expr) and _shows(node.value):
            del lines[node.lineno - 1 : node.end_lineno]
    return "\n".join(["# The answer is in the book; this cell keeps what later cells use.", *lines]).rstrip()


def _shows(value: ast.expr) -> bool:
    """Whether an expression is there to be seen: a call that shows, or a bare name or object."""
    if not isinstance(value, ast.Call):
        return True
    called = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
    return called in SHOWS


def plain(text: str) -> str:
    """Markdown that Jupyter and Colab show: directives and roles of MyST written out, folds other than hints left out.

    >>> print(plain("```{admonition} Predict\\n:class: tip\\nWhich?\\n```"))
    > **Predict**
    >
    > Which?
    <BLANKLINE>
    """
    text = DIRECTIVE.sub(_directive, text)
    text = re.sub(r"\{glue:text\}`[^`]*`", "*(a number of your run)*", text)
    text = re.sub(r"\{cite:\w+\}`([^`]*)`", r"[\1]", text)
    return re.sub(r"\{(?:doc|ref|term|numref)\}`([^`<]*?)(?:\s*<[^>]*>)?`", r"*\1*", text)


def _directive(found: re.Match[str]) -> str:
    name, argument, body = found[2], found[3].strip(), found[4]
    options: dict[str, Any] = dict(re.findall(r"^:([\w-]+):[ \t]*(.*)$", body, re.MULTILINE))
    body = re.sub(r"\A(?::[\w-]+:.*\n)+", "", body).strip()
    if name == "exercise":
        return f"### Exercise: {argument or 'without a title'}\n\n{body}\n"
    if name == "solution":
        return ""
    folded = "dropdown" in options.get("class", "")
    if folded and not argument.startswith("Hint"):
        return ""
    if name in ("admonition", "note", "tip", "warning", "important"):
        quoted = "\n".join(f"> {line}".rstrip() for line in body.splitlines())
        return f"> **{argument or name.capitalize()}**\n>\n{quoted}\n"
    return body + "\n"
