"""Docstrings and signatures of the library as Sphinx reads them, with links where a name is one of the library's."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

from tools.docstrings import to_rst
from tools.signatures import written


def read_docstring(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """A docstring of the library as Sphinx reads it; names of the library link to where they are told."""
    lines[:] = to_rst(lines, links(name, thing))


def links(name: str, thing: Any) -> dict[str, str]:
    """{what a docstring may write: full name} where *thing* is told under *name*.

    A bare word leads to a function or class of the library, or to a method of the same class; what is an argument or
    an attribute there is meant as such. A method of another class is written with its class.
    """
    told = _told()
    classes = {full for full, one in told.items() if isinstance(one, type)}
    home = name if name in classes else name.rpartition(".")[0]
    own = told[home] if home in classes else None
    arguments = set(inspect.signature(thing).parameters) if callable(thing) and not isinstance(thing, type) else set()
    arguments |= {word for kind in (own.__mro__ if own else ()) for word in vars(kind).get("__annotations__", {})}
    found = {short: full for short, full in _short_names().items()
             if short not in arguments and ("." in short or full.rpartition(".")[0] not in classes)}  # fmt: skip
    mine = {full.rpartition(".")[2]: full for full in told if own and full.rpartition(".")[0] == home}
    return found | {short: full for short, full in mine.items() if short not in arguments}


def write_signature(
    app: Any, what: str, name: str, thing: Any, options: Any, given: str | None, returned: str | None
) -> tuple[str, str | None] | None:
    """The signature as it is written in the library."""
    if what not in ("class", "function", "method") or (found := written(thing, what == "method")) is None:
        return None
    return found[0], found[1] or None


@cache
def _told() -> dict[str, Any]:
    """{full name: what it is} of all that the library's pages tell."""
    from tools import api

    return dict(api.things())


@cache
def _short_names() -> dict[str, str]:
    """{short name: full name} of it, where only one thing has that name."""
    found: dict[str, list[str]] = {}
    for full in _told():
        path = full.removeprefix("blockprune_lib.").split(".")
        for short in {path[-1], ".".join(path[-2:]), ".".join(path)}:
            found.setdefault(short, []).append(full)
    return {short: names[0] for short, names in found.items() if len(names) == 1}
