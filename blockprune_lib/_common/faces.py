"""The face of a package: the names that its `__init__.pyi` lists, each loaded when it is first used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lazy_loader

from .moved import load_moved, moved


def face(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package, from the stub beside its `__init__.py`.

    As `lazy_loader.attach_stub`, but the old name of a file that moved is found, and an unknown name is told what
    there is.
    """
    load, listing, names = lazy_loader.attach_stub(package, file)

    def get(name: str) -> Any:
        if new := moved(f"{package}.{name}"):
            return load_moved(f"{package}.{name}", new)
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it has {', '.join(names)}")
        return load(name)

    return get, listing, names
