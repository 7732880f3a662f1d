"""MyST-NB's table of runs as a reader can use it, and the numbers that the menu gives the chapters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes

from tools.repository import ROOT

#: Columns of MyST-NB's table of runs that a reader has a use for, by number; that of the method tells the promise.
_RUNS = {0: "page", 1: "ran on", 2: "promised, s", 3: "seconds"}


def plain_runs(app: Any, document: nodes.document, page: str) -> None:
    """The table of runs in the book's order: number and title, what was promised, whole seconds, and their sum.

    The day stands in the head where all ran on one. Where a page did not run the build has failed.
    """
    for table in document.findall(nodes.table):
        first, *rows = table.findall(nodes.row)
        if not rows or [entry.astext() for entry in list(first.children)[:2]] != ["Document", "Modified"]:
            continue
        numbers = chapter_numbers()
        names = {id(row): row.children[0].astext() for row in rows}
        days = {row.children[1].astext()[:10] for row in rows}
        total = sum(float(row.children[3].astext()) for row in rows)
        for row in rows:
            name, (link, day, promise, seconds, _) = names[id(row)], row.children
            title = app.env.titles.get(name)
            number = f"{numbers[name]}. " if name in numbers else ""
            _say(link, number + (name if title is None else title.astext()))
            _say(day, day.astext()[:10])
            _say(promise, _promise(Path(app.srcdir) / f"{name}.ipynb"))
            _say(seconds, f"{float(seconds.astext()):.0f}")
        ends = {"index": 0}  # the other pages with code are appendices
        rows.sort(key=lambda row: (numbers | ends).get(names[id(row)], len(numbers) + 1))
        last = rows[-1].deepcopy()
        for entry, text in zip(last.children, ("all", "", "", f"{total:.0f}", ""), strict=True):
            entry.children = [nodes.paragraph("", text)]
        (body,) = table.findall(nodes.tbody)
        body.children = []
        body += [*rows, last]
        for column, heading in _RUNS.items():
            _say(first.children[column], heading)
        kept = [column for column in _RUNS if column != 1 or len(days) > 1]
        if len(days) == 1:
            _say(first.children[3], f"seconds, {days.pop()}")
        for cells in [list(table.findall(nodes.colspec)), *(list(row.children) for row in (first, *rows, last))]:
            for column, cell in enumerate(cells):
                if column not in kept:
                    cell.parent.remove(cell)
        for group in table.findall(nodes.tgroup):
            group["cols"] = len(kept)


def chapter_numbers() -> dict[str, int]:
    """{name: number} of the chapters, as the menu counts them."""
    parts = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))["parts"]
    names = [one["file"] for part in parts if part.get("numbered") for one in part["chapters"]]
    return {name: number for number, name in enumerate(names, 1)}


def _promise(path: Path) -> str:
    """The seconds that a chapter promises on a laptop; nothing for a page that promises none."""
    if not path.is_file():
        return ""
    metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
    return str(metadata.get("blockprune", {}).get("laptop_seconds", ""))


def _say(entry: nodes.Node, text: str) -> None:
    """Replace the last piece of text in an entry, whose link stays."""
    *_, last = entry.findall(nodes.Text)
    last.parent.replace(last, nodes.Text(text))
