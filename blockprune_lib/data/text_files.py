"""Tables of text from files: .csv, .tsv, .jsonl, .json and .parquet, each as columns of what its cells say.

    .csv      commas; a cell with a comma, a line end or a quotation mark in it stands in quotation marks
    .tsv      as it is: cells stand between tabs, rows between line ends, and a quotation mark is a letter
    .jsonl    one object a line; .json: the same, or one list of objects; a field that a row lacks is None
    .parquet  as pyarrow reads it

A .tsv that is to the byte what a csv writer makes of its cells is read as that, unless other rows would come of it.
Cells of .csv and .tsv are text of any length, kept as written. Files must be UTF-8, with or without a mark at the
beginning. Every row must have a cell for each column. An error names the line.
"""

from __future__ import annotations

import csv
import io
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .glue import Columns

Rows = list[list[str]]

_limit_lock = threading.Lock()


def read_columns(source: Path) -> Columns:
    """{column: cells} of the file; raises ValueError saying what is wrong and in which line, OSError as `open` does."""
    return READERS[source.suffix](source)


def _csv(source: Path) -> Columns:
    text, rows, lines = _text(source), Rows(), list[int]()
    with _cells_of_any_length():
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        try:
            for row in reader:
                rows.append(row)
                lines.append(reader.line_num)
        except csv.Error as error:
            said = "a quotation begins and never ends" if "unexpected end" in str(error) else str(error)
            begun = (lines[-1] if lines else 0) + 1
            raise ValueError(
                f"the row that begins in line {begun}: {said}; a quotation mark inside a cell must be doubled, and the "
                "cell stand in quotation marks; a .tsv takes every mark as a letter"
            ) from None
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        if rows and len(rows[0]) == 1 and mark in rows[0][0]:
            raise ValueError(
                f"cells must be separated by commas; the first line has {name}: save it with commas, or as .tsv"
            )
    return _columns(rows, lines, "a cell with a comma in it must stand in quotation marks")


def _tsv(source: Path) -> Columns:
    text = _text(source)
    lines = _lines(text)
    plain = [line.split("\t") if line else [] for line in lines]
    regular = all(len(row) in (0, len(plain[0])) for row in plain)
    if '"' in text and (quoted := _as_a_writer_made_it(text)) is not None:
        counts = [sum(map(bool, rows)) for rows in (plain, quoted)]
        if not regular or counts[0] == counts[1]:
            return _columns(quoted, list(range(1, len(quoted) + 1)), "")
    remedy = "a .tsv is read as it is: text with tabs or line ends in it goes into a .csv, .jsonl or .parquet"
    return _columns(plain, list(range(1, len(plain) + 1)), remedy)


def _as_a_writer_made_it(text: str) -> Rows | None:
    """The rows of tab-separated text with quoted cells, where a csv writer makes exactly this text of them."""
    with _cells_of_any_length():
        try:
            rows = list(csv.reader(io.StringIO(text, newline=""), delimiter="\t", strict=True))
        except csv.Error:
            return None
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
        for end in ("\n", "\r\n"):
            made = io.StringIO(newline="")
            csv.writer(made, delimiter="\t", lineterminator=end, quoting=quoting).writerows(rows)
            if made.getvalue().removesuffix(end) == text.removesuffix(end):
                return rows
    return None


def _json(source: Path) -> Columns:
    text = _text(source)
    rows: list[Any] = []
    try:
        if text.lstrip().startswith("["):
            rows = json.loads(text)
        else:
            for number, line in enumerate(_lines(text), start=1):
                try:
                    rows += [json.loads(line)] if line.strip() else []
                except ValueError as error:
                    raise ValueError(f"line {number}: {error}") from None
    except RecursionError:
        raise ValueError("lists in lists in lists without end; rows are objects of text and labels") from None
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ValueError(f"row {number} must be an object such as {{'text': ..., 'label': ...}}; got {row!r:.60}")
    names = {name: None for row in rows for name in row}
    return {name: [row.get(name) for row in rows] for name in names}


def _parquet(source: Path) -> Columns:
    from pyarrow import parquet  # type: ignore[import-untyped]

    return dict(parquet.read_table(source).to_pydict())


READERS: dict[str, Callable[[Path], Columns]] = {
    ".csv": _csv, ".tsv": _tsv, ".json": _json, ".jsonl": _json, ".parquet": _parquet
}  # fmt: skip


def _columns(rows: Rows, lines: list[int], remedy: str) -> Columns:
    """Rows of cells, the first of them the header, as columns; empty lines are passed over."""
    filled = [(row, line) for row, line in zip(rows, lines, strict=True) if row]
    if not filled:
        raise ValueError("it is empty; the first line must name the columns")
    header, _ = filled[0]
    if twice := [name for place, name in enumerate(header) if name in header[:place]]:
        raise ValueError(f"two columns are called {twice[0]!r}; give each a name of its own")
    for row, line in filled[1:]:
        if len(row) != len(header):
            raise ValueError(f"line {line} has {len(row)} cells, the first line has {len(header)}: {remedy}")
    return {name: [row[place] for row, _ in filled[1:]] for place, name in enumerate(header)}


def _lines(text: str) -> list[str]:
    """The lines, which end in \\n, \\r\\n, or, in a file that has neither, \\r; str.splitlines also cuts at U+2028."""
    end = "\n" if "\n" in text else "\r"
    return [line.removesuffix("\r") for line in text.split(end)]


def _text(source: Path) -> str:
    raw = source.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, again = raw[: error.start].count(b"\n") + 1, "save it as UTF-8 (a spreadsheet's 'CSV UTF-8')"
        if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise ValueError(f"it must be UTF-8; it begins with the mark of UTF-16: {again}") from None
        found = f"line {line} has the byte 0x{raw[error.start]:02x}"
        raise ValueError(f"it must be UTF-8; {found}, as Windows-1252 and Latin-1 have for letters: {again}") from None
    if len(raw) > 3 and not (any(raw[:8:2]) and any(raw[1:8:2])):
        raise ValueError("it must be UTF-8; every other byte of its beginning is zero, as in UTF-16: save it as UTF-8")
    return text


@contextmanager
def _cells_of_any_length() -> Iterator[None]:
    """Let the csv module read cells beyond its 131,072 characters; the limit is one for the whole process."""
    with _limit_lock:
        before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
        try:
            yield
        finally:
            csv.field_size_limit(before)
