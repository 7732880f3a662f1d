"""Files that moved: the name a script may still import, and the file that it gets, with a DeprecationWarning.

Every form of import finds the old name: `import blockprune_lib.curves`, `from blockprune_lib import curves`, and
`blockprune_lib.curves`. What comes is today's module itself, so that a script that replaces a function in it replaces
the library's. No entry leads up: the new file stands on the old name's floor or below it.

An attribute that was renamed says so where it stands, by `renamed`. Left out: names inside a file, which `bp` and the
rooms list.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

LIBRARY = __name__.partition(".")[0]
#: The version that drops the old names.
UNTIL = "0.2"
#: Old name → new name, both inside the library: the names that scripts of others are known to use.
MOVED = {
    "_peak": "machine.peak",
    "compressed_rows": "kernels.csr",
    "curves": "machine.memory",
    "experiments.own_data": "data.own_data",
    "gathers": "machine.gather",
    "kernels.function": "kernels.functional",
    "kernels.threads": "kernels.parallel",
    "pruning_trainer": "training.trainer",
    "sparse_linear": "nn.block_sparse_linear",
    "vectors": "machine.simd",
}


def moved(name: str) -> str | None:
    """The new full name of a module's old full name, None where it never moved.

    >>> moved("blockprune_lib.curves"), moved("blockprune_lib.nn")
    ('blockprune_lib.machine.memory', None)
    """
    new = MOVED.get(name.removeprefix(f"{LIBRARY}."))
    return f"{LIBRARY}.{new}" if new else None


def load_moved(old: str, new: str) -> ModuleType:
    """Today's module, under its old name too; the warning points at what called the caller."""
    message = f"{old} is {new} now; the old name goes with version {UNTIL}"
    warnings.warn(message, DeprecationWarning, stacklevel=3)
    module = sys.modules[old] = importlib.import_module(new)
    package, _, name = old.rpartition(".")
    setattr(sys.modules[package], name, module)
    return module


def renamed(old: str, new: str) -> property:
    """An attribute's old name: its value under the new one, with a DeprecationWarning.

    >>> class Task:
    ...     metric_set = "accuracy"
    ...     kind = renamed("kind", "metric_set")
    >>> with warnings.catch_warnings(action="ignore"):
    ...     Task().kind
    'accuracy'
    """

    def get(self: Any) -> Any:
        message = f"{type(self).__name__}.{old} is {new} now; the old name goes with version {UNTIL}"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return getattr(self, new)

    get.__doc__ = f"The old name of `{new}`."  # the property has it from here
    return property(get)


class _Finder(MetaPathFinder, Loader):
    """Gives an `import` of an old name the module that has another name now."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(name, self) if moved(name) else None

    def create_module(self, spec: ModuleSpec) -> None:
        return None  # an empty one, in whose place the right one comes

    def exec_module(self, module: ModuleType) -> None:
        load_moved(module.__name__, moved(module.__name__) or "")


def find_moved() -> None:
    """Let `import` find the old names, after everything else."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
