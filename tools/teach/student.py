"""The student version of a chapter: no solutions and no reasons, the stubs kept, text that any notebook program shows.

    solution cells, and the text between solution-start and solution-end     go
    folds other than hints: the reasons behind a prediction                  go
    cells that measure the answer to a prediction                            stay, their code folded: they show what
                                                                             they find once the student runs them
    numbers that the text takes from a run                                   become names, told by a cell above it
    citations                                                                become authors and year
    MyST's directives                                                        become plain Markdown

Each cell that was handed out says so in its metadata, so that `marking` knows which ones a student added.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

from blockprune_lib._common.files import write_whole
from tools.bibliography_style import label

from .chapters import BOOK, DIRECTIVE, Cell, Notebook, chapters, read, source, tags

_GLUE = re.compile(r"\{glue:text\}`([^`]*)`")
GIVEN = "blockprune_given"


def student_version(notebook: Notebook, chapter: str) -> Notebook:
    """The notebook as a student gets it."""
    cells, inside = list[Cell](), False
    for cell in notebook["cells"]:
        kept, inside = _of_cell(cell, inside)
        if kept is not None:
            if names := _numbers_of(kept):
                cells.append(_numbers(kept, names))
                kept["source"] = _GLUE.sub(r"*[\1]*", source(kept)).splitlines(keepends=True)
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
        text = plain(text, numbers=False).strip("\n")
        kept["source"] = text.splitlines(keepends=True)
        return (kept if text.strip() else None), inside
    if inside or "exercise-solution" in tags(cell):
        return None, inside
    if "hide-output" in tags(cell) and "answer" in str(cell["metadata"].get("mystnb", "")):
        kept["metadata"] |= {"jupyter": {"source_hidden": True}, "cellView": "form"}
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


def _numbers_of(cell: Cell) -> list[str]:
    """The names of the numbers that a cell's text takes from a run."""
    return list(dict.fromkeys(_GLUE.findall(source(cell)))) if cell["cell_type"] == "markdown" else []


def _numbers(cell: Cell, names: list[str]) -> Cell:
    """A cell that tells the numbers which the text of *cell* calls by *names*."""
    lines = ["chapter.glued(\n", *(f'    "{name}",\n' for name in names), ")"]
    metadata = {GIVEN: True, "jupyter": {"source_hidden": True}, "cellView": "form"}
    told = {"cell_type": "code", "metadata": metadata, "execution_count": None, "outputs": [], "source": lines}
    return {**told, "id": f"{cell['id']}-told"[:64]} if "id" in cell else told


def plain(text: str, numbers: bool = True) -> str:
    """Markdown that Jupyter and Colab show: directives and roles of MyST written out, folds other than hints left out.

    `numbers` False leaves {glue:text}`...` to the caller.

    >>> print(plain("```{admonition} Predict\\n:class: tip\\nWhich?\\n```"))
    > **Predict**
    >
    > Which?
    <BLANKLINE>
    """
    text = DIRECTIVE.sub(_directive, text)
    if numbers:
        text = _GLUE.sub("*(a number of your run)*", text)
    text = re.sub(r"\{cite:(\w+)\}`([^`]*)`", lambda found: _cited(found[1], found[2].split(",")), text)
    text = re.sub(r"^\([\w-]+\)=\n?", "", text, flags=re.MULTILINE)
    text = re.sub(r"\[([^\]\n]*)\]\((?!https?:)(?:#[\w-]+|[\w-]+)\)", r"*\1*", text)  # a label is no file
    return re.sub(r"\{(?:doc|ref|term|numref)\}`([^`<]*?)(?:\s*<[^>]*>)?`", r"*\1*", text)


def _cited(role: str, keys: list[str]) -> str:
    """A citation in words: "(Han et al., 2015)", or "Han et al. (2015)" in a sentence."""
    told = [label(_works()[key.strip()]) for key in keys]
    if role == "t":
        return " and ".join("{0} ({2})".format(*each.rpartition(", ")) for each in told)
    return f"({'; '.join(told)})"


@cache
def _works() -> Any:
    """The entries of the book's bibliography."""
    from pybtex.database import parse_file

    return parse_file(str(BOOK / "references.bib")).entries


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
