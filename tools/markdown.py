"""One way to write a table in Markdown: a column of names without a title, then what is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def table(columns: Sequence[str], rows: Mapping[str, Sequence[str]]) -> list[str]:
    """The lines of a table, {name of a row: its cells}.

    >>> table(["ms"], {"dense": ["2.0"]})
    ['| | ms |', '|---|---|', '| dense | 2.0 |']
    """
    head = [f"| | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    return [*head, *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items())]
