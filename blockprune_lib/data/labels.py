"""What the labels of your own text mean: classes with names, or numbers to come close to.

| labels | meaning |
|---|---|
| names, true and false | classes in alphabetical order |
| whole numbers of any type | classes 0 to the largest |
| numbers with a point | a regression; classes where a metric of classes is asked for and all are whole |

Refused, by row: a blank, a label of another kind than the others, one that no training row has. Rows count from 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_WITH_POINT = re.compile(r"[+-]?(?=[0-9.]*[.eE])([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
#: So many classes may always be; beyond them, no more than there are rows.
MANY = 1000
NONE = "leave the row out, or give it a label"


@dataclass(frozen=True)
class Labels:
    """Labels as numbers, {split: values}; names of the classes 0, 1, ..., none for a regression; what is to be said."""

    values: dict[str, list[Any]]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def number(
    splits: Mapping[str, Sequence[Any]], column: str, known: Iterable[str] | None = None, classes: bool | None = None
) -> Labels:
    """The labels of "train" and "validation" as numbers, with names.

    `known`: names that come with the data. `classes`: whether whole numbers with a point are meant as classes; None:
    nobody said. Raises ValueError naming split, row and what was found.

    >>> number({"train": ["no", "yes"], "validation": ["yes"]}, "verdict")
    Labels(values={'train': [0, 1], 'validation': [1]}, names=('no', 'yes'), notes=())
    """
    values = {split: [plain(value) for value in part] for split, part in splits.items()}
    rows = [(split, row, value) for split, part in values.items() for row, value in enumerate(part)]
    for split, row, value in rows:
        if value is None or (isinstance(value, float) and math.isnan(value)) or value == "":
            raise ValueError(f"{_at(split, row, column)} must not be blank; got {splits[split][row]!r}: {NONE}")
    kinds = {_kind(value) for _, _, value in rows}
    if len(kinds) > 1 or kinds == {"other"}:
        _refuse_another_kind(rows, column)
    if kinds == {"number"} and any(isinstance(value, float) for _, _, value in rows):
        whole = all(float(value).is_integer() for _, _, value in rows)
        if not (classes and whole):
            return _quantities(values, rows, column, said=classes is not None or not whole)
        values = {split: [int(value) for value in part] for split, part in values.items()}
        rows = [(split, row, int(value)) for split, row, value in rows]
    if kinds == {"number"}:
        names = _names_of_numbers(rows, column, known)
    else:
        names = ("false", "true") if kinds == {"truth"} else tuple(sorted({value for _, _, value in rows}))
        places = {name: place for place, name in enumerate((False, True) if kinds == {"truth"} else names)}
        values = {split: [places[value] for value in part] for split, part in values.items()}
    if len(names) == 1:
        raise ValueError(f"label {column!r} must have two classes or more; all rows have {names[0]!r}")
    return Labels(values, names, _compare(values, names, column, numbered=kinds == {"number"}))


def plain(value: Any) -> Any:
    """A label as Python's own: scalars of NumPy, torch, pandas and pyarrow become bool, int, float, str or None.

    >>> import numpy
    >>> plain(numpy.int8(3)), plain(numpy.bool_(True)), plain(" yes ")
    (3, True, 'yes')
    """
    if hasattr(value, "as_py"):  # pyarrow
        value = value.as_py()
    if type(value).__name__ in ("NAType", "NaTType"):  # pandas
        return None
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # NumPy, torch
        value = value.item()
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, (Real, Decimal)) else value


def from_cells(cells: Sequence[str]) -> list[Any]:
    """Labels written in a table: whole numbers, else numbers, else names; blanks stay as they are.

    Where most are numbers with a point, the others stay text, which `number` refuses: they are no names of classes.

    >>> from_cells(["1", "0", ""]), from_cells(["1.5", "0"]), from_cells(["1", "unsure"])
    ([1, 0, ''], [1.5, 0.0], ['1', 'unsure'])
    """
    stripped = [cell.strip() for cell in cells]
    filled = [cell for cell in stripped if cell]
    if all(_WHOLE.fullmatch(cell) for cell in filled):
        return [int(cell) if cell else cell for cell in stripped]
    if any(map(_WITH_POINT.fullmatch, filled)) and 2 * sum(map(_is_number, filled)) > len(filled):
        return [float(cell) if _is_number(cell) else cell for cell in stripped]
    return stripped


def _is_number(cell: str) -> bool:
    return bool(_WHOLE.fullmatch(cell) or _WITH_POINT.fullmatch(cell))  # 007 is neither: it is a name


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "truth"
    return "number" if isinstance(value, (int, float)) else "text" if isinstance(value, str) else "other"


def _refuse_another_kind(rows: list[tuple[str, int, Any]], column: str) -> None:
    kinds, wanted = [_kind(value) for _, _, value in rows], {"number": "a finite number", "text": "text"}
    usual = max((*wanted, "truth"), key=kinds.count)
    split, row, value = next(entry for entry, kind in zip(rows, kinds, strict=True) if kind != usual)
    said = f"must be {wanted.get(usual, 'true or false')}, as most are; got {value!r}"
    raise ValueError(f"{_at(split, row, column)} {said}: leave the row out, or write all labels alike")


def _quantities(values: dict[str, list[Any]], rows: list[tuple[str, int, Any]], column: str, said: bool) -> Labels:
    for split, row, value in rows:
        if not math.isfinite(value):
            raise ValueError(f"{_at(split, row, column)} must be a finite number; got {value!r}: {NONE}")
    numbers = {split: [float(value) for value in part] for split, part in values.items()}
    if said:
        return Labels(numbers, ())
    shown = ", ".join(map(str, sorted({float(value) for _, _, value in rows})[:3]))
    note = (
        f"{column!r} has whole numbers with a point ({shown}), taken as quantities, so this is a regression: "
        "for classes write them without, or ask for metric accuracy; for a regression ask for metric correlation"
    )
    return Labels(numbers, (), (note,))


def _names_of_numbers(
    rows: list[tuple[str, int, Any]], column: str, known: Iterable[str] | None
) -> tuple[str, ...]:  # fmt: skip
    most = max(MANY, len(rows))
    largest = max(value for _, _, value in rows)
    names = tuple(known or ()) or tuple(map(str, range(max(2, min(largest, most) + 1))))
    for split, row, value in rows:
        if 0 <= value < len(names) and (known or value < most):
            continue
        shown = ", ".join(f"{place} ({name})" for place, name in enumerate(names[:5])) + ", ..." * (len(names) > 5)
        remedy = NONE if value < 0 else "number the classes from 0, or write names"
        raise ValueError(f"{_at(split, row, column)} must be one of {shown}; got {value!r}: {remedy}")
    return names


def _compare(
    values: dict[str, list[Any]], names: tuple[str, ...], column: str, numbered: bool
) -> tuple[str, ...]:  # fmt: skip
    """Refuse what is never trained on; say which classes no row has."""
    trained = set(values["train"])
    for split, part in values.items():
        for row, value in enumerate(part):
            if value not in trained:
                shown = f"{value} ({names[value]})" if numbered and names[value] != str(value) else repr(names[value])
                said = f"must be one that training rows have; got {shown}, which none has"
                raise ValueError(f"{_at(split, row, column)} {said}: leave the row out, or add rows to train on")
    unused = [name for place, name in enumerate(names) if place not in trained]
    return (f"no row has the label {', '.join(unused[:5])}{', ...' * (len(unused) > 5)}",) if unused else ()


def _at(split: str, row: int, column: str) -> str:
    return f"{split}, row {row}: label {column!r}"
