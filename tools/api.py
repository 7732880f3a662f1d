"""Write book/api.md and book/api/, the library's public names, from the stubs of its packages; `--check` only compares.

A page for each package, and one that leads to them. Sphinx's autodoc fills in signatures, defaults and docstrings when
the book is built, so the pages change only where a public name comes, goes or moves.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_type_hints

from sphinx.pycode import ModuleAnalyzer

import blockprune_lib as bp
from blockprune_lib._common.files import write_whole
from tools.api_names import HEAD, tables
from tools.docstrings import to_rst

BOOK = Path(__file__).resolve().parent.parent / "book"
#: The rooms, in the order of the book, and the question that each answers.
ROOMS = {
    "machine": "What this machine can do, and fair timing on it",
    "pruning": "Which groups vanish, which stay, how they are stored",
    "data": "Real weights and real text",
    "kernels": "Products with what is left of a matrix, and the steps by which the fast ones were made",
    "nn": "Sparse layers inside a model; saving, loading, budgets of time",
    "training": "Fine-tune, reweight, prune, retrain",
    "bench": "Every other way to run the same model, timed beside ours",
    "experiments": "A recipe in, records out; tables and verdicts of many runs",
    "teaching": "What the book's pages call: exercises and their checkers, tables, sentences made of results",
    "widgets": "Interactive figures, in which the reader moves a slider",
}
PLOTS = "Figures with the book's fonts and colours, each with a text that says what it shows"
#: The first words of a package's page.
OPENING = """\
{question}. These names are in `bp.{room}` after `import blockprune_lib as bp`.
{{doc}}`The library </api>` says what (M, N), (R, C) and T stand for, and leads to the other packages."""
#: What stands over the classes that calls of a package return.
RETURNED = "These come back from the calls above; you do not make them yourself."
#: The parts of a benchmark's record are what its SCHEMA says.
BY_SCHEMA = ("bench",)


def pages() -> dict[str, str]:
    """{path below book/: text}: the page that leads to the others, then one for each package, in the book's order."""
    told = {id(getattr(home, name)) for home, _ in _homes() for name in public(home)}
    found = {"api.md": [HEAD, "## Packages", contents(), "## `bp`: the common names", *tables(_homes_of(bp))]}
    for room, question in {**ROOMS, "plots": PLOTS}.items():
        head, *parts = section(f"blockprune_lib.{room}", f"# `bp.{room}`")
        parts = [head, OPENING.format(question=question, room=room), *parts]
        by_hand = room in ROOMS and room not in BY_SCHEMA
        found[f"api/{room}.md"] = parts + (returned(room, told) if by_hand else [])
    return {path: "\n\n".join(parts) + "\n" for path, parts in found.items()}


def contents() -> str:
    """A line for each package, and where one name is looked up."""
    lines = [f"- [`bp.{room}`](api/{room}.md): {question[0].lower()}{question[1:]}"
             for room, question in {**ROOMS, "plots": PLOTS}.items()]  # fmt: skip
    return "\n".join(lines) + "\n\nThe {ref}`index <genindex>` lists every name in alphabetical order."


def section(module: str, heading: str) -> list[str]:
    """A package's or a module's heading and its names; its packages' and modules' after them."""
    home = bp.plots if module == "blockprune_lib.plots" else importlib.import_module(module)
    modules = [name for name in public(home) if inspect.ismodule(getattr(home, name))]
    names = [name for name in public(home) if name not in modules]
    parts = [heading]
    if names:
        told = [f"{module}.{name}" for name in names if _runs(getattr(home, name))]
        parts += [summary(told), entries(home, module, names)]
    for name in modules:
        parts += section(f"{module}.{name}", f"## `{module.replace('blockprune_lib', 'bp')}.{name}`")
    return parts


def public(home: ModuleType) -> list[str]:
    """The names that a package's stub lists, or the functions and classes that a file defines and does not hide."""
    if hasattr(home, "__all__"):
        return list(home.__all__)
    found = []
    for name, thing in vars(home).items():
        kind = inspect.isfunction(thing) or inspect.isclass(thing)
        if kind and not name.startswith("_") and thing.__module__ == home.__name__ and inspect.getdoc(thing):
            found.append(name)
    return found


def returned(room: str, told: set[int]) -> list[str]:
    """The classes that calls of a room return and that have no public name; `told` are those already told."""
    queue = [getattr(home, name) for home, of in _homes() if of == room for name in public(home)]
    found = list[type]()
    while queue:
        thing = queue.pop(0)
        methods = [getattr(thing, name) for name in _members(thing)] if inspect.isclass(thing) else []
        for kind in _classes(hint for part in (*methods, thing) for hint in _hints(part)):
            ours = kind.__module__.startswith(f"blockprune_lib.{room}.") and inspect.getdoc(kind)
            if ours and id(kind) not in told:
                told.add(id(kind))
                found.append(kind)
                queue.append(kind)
    if not found:
        return []
    names = {kind: f"{kind.__module__}.{kind.__name__}" for kind in sorted(found, key=lambda kind: kind.__name__)}
    parts = [f"## What `bp.{room}` returns", RETURNED, summary(list(names.values()))]
    return [*parts, *(entries(sys.modules[kind.__module__], kind.__module__, [kind.__name__]) for kind in names)]


def _homes() -> Iterator[tuple[ModuleType, str]]:
    """Every package and module on the pages, with the room that it is of."""
    for room in ROOMS:
        package = importlib.import_module(f"blockprune_lib.{room}")
        yield package, room
        for name in public(package):
            if inspect.ismodule(getattr(package, name)):
                yield getattr(package, name), room


def _hints(thing: Any) -> list[Any]:
    """The types of a class's public fields, or the type that a function or property returns."""
    try:
        hints = get_type_hints(getattr(thing, "fget", thing))
    except (NameError, TypeError):
        return []
    return [hint for name, hint in hints.items() if name[0] != "_" and (inspect.isclass(thing) or name == "return")]


def _classes(hints: Iterable[Any]) -> Iterator[type]:
    """The classes of the library in types such as dict[str, list[Case]]."""
    for hint in hints:
        if inspect.isclass(hint) and not get_args(hint) and not hint.__name__.startswith("_"):
            yield hint
        yield from _classes(get_args(hint))


def things() -> Iterator[tuple[str, Any]]:
    """Every function, class and method on the pages, by its full name."""
    module = ""
    for line in "".join(pages().values()).splitlines():
        kind, _, name = line.strip().partition(":: ")
        if kind == ".. currentmodule":
            module = name
        elif kind in (".. autoclass", ".. autofunction"):
            thing = getattr(bp.plots if module == "blockprune_lib.plots" else importlib.import_module(module), name)
            yield f"{module}.{name}", thing
            for member in _members(thing) if inspect.isclass(thing) else []:
                yield f"{module}.{name}.{member}", getattr(thing, member)


def summary(names: list[str]) -> str:
    """A table of names with the first sentence of each."""
    lines = "\n".join(f"   ~{name}" for name in names)
    return f"```{{eval-rst}}\n.. currentmodule:: None\n\n.. autosummary::\n   :nosignatures:\n\n{lines}\n```"


def entries(home: ModuleType, module: str, names: list[str]) -> str:
    """The directives that autodoc follows."""
    lines = [f".. currentmodule:: {module}", ""]
    for name in names:
        thing = getattr(home, name)
        if inspect.isclass(thing):
            members = _members(thing)
            lines += [f".. autoclass:: {name}", *([f"   :members: {', '.join(members)}"] if members else []), ""]
        elif _runs(thing):
            lines += [f".. autofunction:: {name}", ""]
        else:
            lines += [f".. data:: {name}", "", f"   {_comment(home, name)}", ""]
    return "```{eval-rst}\n" + "\n".join(lines).rstrip() + "\n```"


def _runs(thing: Any) -> bool:
    """Whether it is a class or a function, and no constant."""
    return inspect.isclass(thing) or inspect.isroutine(thing)


def _comment(home: ModuleType, name: str) -> str:
    """What stands over a constant in the file beside its package or module that defines it."""
    for path in sorted(Path(str(home.__file__)).parent.glob("*.py")):
        if re.search(rf"^{name}\b.*=", path.read_text(encoding="utf-8"), re.M):
            told = ModuleAnalyzer.for_file(str(path), path.stem).find_attr_docs()
            if ("", name) in told:
                return " ".join(to_rst(told["", name]))
    raise ValueError(f"{home.__name__}.{name} needs a comment that begins with #: where it is defined")


def _members(thing: type) -> list[str]:
    """A class's own public methods that have a docstring."""
    own = []
    for name, member in vars(thing).items():
        target = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        runs = inspect.isfunction(target) or isinstance(target, property)
        told = inspect.getdoc(target) if runs and not name.startswith("_") else None
        if told and not told.startswith("The old name"):  # as `renamed` of `_common/moved.py` says
            own.append(name)
    return own


def _homes_of(top: ModuleType) -> dict[str, str]:
    """{name: package} of each function and class of `bp`."""
    found = {}
    for room in ROOMS:
        for name in importlib.import_module(f"blockprune_lib.{room}").__all__:
            if name in top.__all__ and not inspect.ismodule(getattr(top, name)):
                found[name] = room
    return found


def stale(texts: dict[str, str]) -> list[str]:
    """The paths below book/ that differ from *texts*, are missing, or are of a package that is no more."""
    have = {str(path.relative_to(BOOK)): path.read_text(encoding="utf-8") for path in BOOK.glob("api/*.md")}
    if (BOOK / "api.md").exists():
        have["api.md"] = (BOOK / "api.md").read_text(encoding="utf-8")
    return sorted(path for path in {*texts, *have} if texts.get(path) != have.get(path))


def main() -> int:
    """Write or check the pages; return the exit status."""
    texts = pages()
    differ = stale(texts)
    if "--check" in sys.argv[1:]:
        told = ", ".join(f"book/{path}" for path in differ)
        print(f"{told} differ: run python -m tools.api" if differ else "book/api.md and book/api/ are up to date.")
        return int(bool(differ))
    (BOOK / "api").mkdir(exist_ok=True)
    for path in differ:
        if path in texts:
            write_whole(BOOK / path, texts[path].encode())
        else:
            (BOOK / path).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
