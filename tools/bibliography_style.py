"""The bibliography's labels: author and year, as the text cites them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from pybtex.plugin import register_plugin
from pybtex.style.formatting.plain import Style as PlainStyle
from pybtex.style.labels import BaseLabelStyle


class AuthorYearLabels(BaseLabelStyle):
    """Labels such as "Li et al., 2020"; two that are alike get a and b."""

    def format_labels(self, sorted_entries: Iterable[Any]) -> Iterator[str]:
        """The label of each entry."""
        names = [label(entry) for entry in sorted_entries]
        many, seen = Counter(names), Counter[str]()
        for name in names:
            seen[name] += 1
            yield name + (chr(ord("a") + seen[name] - 1) if many[name] > 1 else "")


def label(entry: Any) -> str:
    """Author and year of one entry."""
    last = [" ".join(person.prelast_names + person.last_names) for person in entry.persons.get("author", [])]
    last = [name.replace("{", "").replace("}", "") for name in last]
    who = " and ".join(last) if len(last) <= 2 else f"{last[0]} et al."
    return ", ".join(filter(None, (who, entry.fields.get("year"))))


class AuthorYearStyle(PlainStyle):
    """Pybtex's plain style with those labels."""

    default_label_style = "bp_author_year"


def register() -> None:
    """Make both known to pybtex, by name."""
    register_plugin("pybtex.style.labels", "bp_author_year", AuthorYearLabels)
    register_plugin("pybtex.style.formatting", "bp_author_year", AuthorYearStyle)
