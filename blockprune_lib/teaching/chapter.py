"""What every chapter's first cells call: set-up, the hardware passport, and sentences made by code.

Works the same in the book's build, in Jupyter and in Colab, where MyST-NB is not installed: `glue` then shows nothing,
and `glued` what it was given.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from .._common.checks import whole_number
from .._common.files import write_json
from .._common.plots import start_numbering
from .._common.provenance import provenance
from .._common.tables import Printed, html_table
from ..machine.passport import hardware


class Disturbable(Protocol):
    """What was measured, and says which of its functions another program disturbed: a `Comparison`, or made of one."""

    @property
    def disturbed(self) -> Mapping[str, float]:
        """{name: how many times apart its quartiles lie}, of each function that was disturbed."""
        ...


Measured = TypeVar("Measured", bound=Disturbable)
#: What `glue` was given in this process.
_GLUED: dict[str, object] = {}


@dataclass(frozen=True)
class Text:
    """A piece of Markdown that a cell shows; its `repr` is the text alone, without quotes."""

    markdown: str

    def __repr__(self) -> str:
        return self.markdown

    _repr_markdown_ = __repr__


@dataclass(frozen=True, repr=False)
class Table(Printed):
    """A table that a cell shows: its rows, the head first, and what its columns mean."""

    rows: tuple[tuple[str, ...], ...]
    caption: str

    @property
    def _classes(self) -> str:  # type: ignore[override]
        numbers = any(character.isdigit() for row in self.rows[1:] for cell in row[1:] for character in cell)
        return "bp-table" if numbers else "bp-table bp-words"

    def _table(self) -> tuple[tuple[str, ...], ...]:
        return self.rows

    def _caption(self) -> str:
        return self.caption


@dataclass(frozen=True)
class Passport:
    """The machine that ran a page, in one line, with the details to unfold."""

    line: str
    details: dict[str, str]

    def __repr__(self) -> str:
        return self.line

    def _repr_html_(self) -> str:
        table = html_table([["", ""], *self.details.items()], "")
        summary = f"<summary><strong>Measured on:</strong> {escape(self.line)}</summary>"
        return f'<details class="bp-passport">{summary}{table}</details>'


def begin(seed: int = 0) -> None:
    """Begin a page: seeds of Python, NumPy and torch set, figures numbered from 1, progress noise kept off."""
    # Tokenisers warn when a process forks after they ran in parallel; the page has no use for either.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    start_numbering()
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries that readers add may use the global generator
    torch.manual_seed(seed)


def passport() -> Passport:
    """Return the hardware passport: CPU, cores, instruction set, measured peak and bandwidth, versions, date."""
    machine = hardware()
    return Passport(machine.passport(), dict(machine.rows()))


def say(sentence: str) -> Text:
    """Return a sentence made by code, which the page shows as prose."""
    return Text(sentence)


def steady(measure: Callable[[], Measured], tries: int = 3) -> Measured:
    """The first comparison that `measure` makes undisturbed; after so many `tries`, the least disturbed of them.

    Which one is kept depends on how far quartiles lie apart (`disturbed` of the comparison), never on a ratio. A page
    that is built while another program runs would else show that program.

    >>> from blockprune_lib.machine.timing import compare
    >>> steady(lambda: compare({"sum": lambda: sum(range(1000))}, repeats=5), tries=2).rounds
    5
    """
    made: list[Measured] = []
    for _ in range(whole_number(tries, "tries", at_least=1, example=3)):
        made.append(measure())
        if not made[-1].disturbed:
            break
    return min(made, key=lambda each: max(each.disturbed.values(), default=1.0))


def table(head: Sequence[str], rows: Sequence[Sequence[object]], caption: str) -> Table:
    """Return a table for the page: names to the left, numbers to the right; `caption` says what the columns are.

    A table without any number is one of words, and all of it goes to the left.
    Raises ValueError for a row that is not as long as `head`.

    >>> table(["matrix", "groups"], [["query", 24]], "groups: how many the matrix has")
    matrix  groups
    query       24
    groups: how many the matrix has
    """
    cells = [tuple(map(str, row)) for row in (head, *rows)]
    for row in cells[1:]:
        if len(row) != len(cells[0]):
            raise ValueError(f"rows must have {len(cells[0])} cells as head has; got {len(row)}: {row!r:.80}")
    return Table(tuple(cells), caption)


def glue(name: str, value: object) -> None:
    """Make *value* available to the chapter's prose as {glue:text}`name`; text is inserted as it reads."""
    _GLUED[name] = value
    try:
        from myst_nb import glue as keep
    except ImportError:
        return
    keep(name, Text(value) if isinstance(value, str) else value, display=False)


def glued(*names: str) -> Table:
    """A table of what `glue` made available, for notebooks whose text cannot insert it; "not run" where a name is not.

    >>> glue("gain", "2.3 times")
    >>> glued("gain", "loss")
    name  your run
    gain  2.3 times
    loss  not run
    The text below calls these numbers by their names.
    """
    rows = [(name, _GLUED.get(name, "not run")) for name in names]
    return table(["name", "your run"], rows, "The text below calls these numbers by their names.")


def record(name: str, figures: dict[str, Any]) -> Text:
    """Write *figures* with their provenance to the folder named by BLOCKPRUNE_RECORD; say what was done.

    Without that variable nothing is written: a reader's run leaves no files. The record holds the commit, the versions
    and the machine, the date, and *figures*, which must be JSON-able. It is written whole or not at all.
    """
    folder = os.environ.get("BLOCKPRUNE_RECORD")
    if not folder:
        return Text("")
    content = {"name": name, "provenance": provenance(), "hardware": hardware().to_dict(), "figures": figures}
    write_json(Path(folder) / f"{name}.json", content)
    return Text(f"Recorded as `{name}.json`.")
