"""One way to write a table in Markdown: a column of names, then what is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def table(columns: Sequence[str], rows: Mapping[str, Sequence[str]], names: str = "", cells: str = "---") -> list[str]:
    """The lines of a table, {name of a row: its cells}; `names` heads the names, `cells` "---:" sets all else right.

    >>> table(["ms"], {"dense": ["2.0"]})
    ['| | ms |', '|---|---|', '| dense | 2.0 |']
    >>> table(["ms"], {"dense": ["2.0"]}, names="engine", cells="---:")[:2]
    ['| engine | ms |', '|---|---:|']
    """
    head = [f"| {f'{names} ' if names else ''}| {' | '.join(columns)} |", "|---|" + f"{cells}|" * len(columns)]
    return [*head, *(f"| {name} | {' | '.join(told)} |" for name, told in rows.items())]


def beside(record: Mapping[str, Any]) -> str:
    """A sentence on what else ran on the machine, where the record's `beside` says so.

    >>> beside({"beside": "Another program ran."}), beside({})
    (' Another program ran.', '')
    """
    return f" {record['beside']}" if record.get("beside") else ""
