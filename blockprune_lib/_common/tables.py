"""One way to print a table: first column to the left, the others to the right; as text and as HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import ClassVar

#: So many letters fit beside each other on a phone; in a table that is wider a word of the head may have to break.
_PHONE = 40


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Lines of equal columns; the first row is the head.

    >>> print(text_table([["matrix", "groups"], ["weight", "24"]]))
    matrix  groups
    weight      24
    """
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join([row[0].ljust(wide[0]), *map(str.rjust, row[1:], wide[1:])]) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def marked(text: str) -> str:
    """A caption as HTML: `code` and *emphasis* as Markdown has them, all else escaped.

    >>> marked("`bp.pack` at *rate* < 5")
    '<code>bp.pack</code> at <em>rate</em> &lt; 5'
    """
    coded = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
    return re.sub(r"(?<![\w*])\*([^*\s](?:[^*]*[^*\s])?)\*(?![\w*])", r"<em>\1</em>", coded)


def html_table(rows: Sequence[Sequence[str]], caption: str, classes: str = "") -> str:
    """The same as an HTML table, escaped, with a caption as `marked` reads it and the CSS `classes` that style it.

    A head of empty cells, as a table of names and values has, and an empty caption are left out.

    >>> html_table([["", ""], ["a", "<1"]], "")
    "<table><tbody><tr><th scope='row'>a</th><td>&lt;1</td></tr></tbody></table>"
    >>> "GFLOP/&#8288;s</th>" in html_table([["", "GFLOP/s"], ["a", "1"]], "")
    True
    """
    # A phone would break GFLOP/s after its slash: a word joiner forbids it.
    head = "".join(f"<th scope='col'>{html.escape(cell).replace('/', '/&#8288;')}</th>" for cell in rows[0])
    cells = ((row[0], "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])) for row in rows[1:])
    body = "".join(f"<tr><th scope='row'>{html.escape(name)}</th>{rest}</tr>" for name, rest in cells)
    heading = f"<thead><tr>{head}</tr></thead>" if any(rows[0]) else ""
    classes = f"{classes} bp-narrow" if classes and heading and _letters(rows) <= _PHONE else classes
    opening = f'<table class="{classes}">' if classes else "<table>"
    title = f"<caption>{marked(caption)}</caption>" if caption else ""
    return f"{opening}{title}{heading}<tbody>{body}</tbody></table>"


def _letters(rows: Sequence[Sequence[str]]) -> int:
    """How many letters wide a table is where each column is as wide as its longest word."""
    columns = zip(*rows, strict=True)
    return sum(max(len(word) for cell in column for word in re.split(r"[\s–-]", cell)) for column in columns)


class Printed:
    """A result that prints itself, in a terminal and on a page: `_table()`, rows with a head, and `_caption()`."""

    _classes: ClassVar[str] = "bp-table"  # of the HTML table
    _caption_first: ClassVar[bool] = False  # in a terminal; in HTML the caption has its own place

    def _table(self) -> Sequence[Sequence[str]]:
        raise NotImplementedError

    def _caption(self) -> str:
        raise NotImplementedError

    def __repr__(self) -> str:
        parts = [text_table(self._table()), self._caption()]
        return "\n".join(reversed(parts) if self._caption_first else parts)

    def _repr_html_(self) -> str:
        return html_table(self._table(), self._caption(), self._classes)
