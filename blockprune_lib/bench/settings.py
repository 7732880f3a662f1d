"""What a benchmark is asked to measure, checked before anything is measured.

Left out: the command's flags (`command/bench.py`), which say the same in text.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .._common.checks import check_shape, finite_number, positive_int
from ..pruning.structure import BlockStructure

SHAPES = ((768, 768), (3072, 768), (768, 3072))


@dataclass(frozen=True)
class Common:
    """What both benchmarks take; every tuple is a list of values of which each combination is a case."""

    structures: tuple[str, ...] = ("block_column:16",)
    rates: tuple[float, ...] = (5.0,)
    tokens: tuple[int, ...] = (128,)
    threads: tuple[int, ...] = (1,)
    repeats: int = 30
    warmup: int = 3
    peers: str | tuple[str, ...] = "all"
    skip: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        texts = [str(text) for text in _several("structures", self.structures)]
        self._set("structures", tuple(str(BlockStructure.parse(text)) for text in texts))
        hint = "rate 5 keeps one group in five"
        self._set("rates", tuple(finite_number(rate, "rates", 1, hint) for rate in _several("rates", self.rates)))
        for name in ("tokens", "threads"):
            self._set(name, tuple(positive_int(value, name) for value in _several(name, getattr(self, name))))
        if positive_int(self.repeats, "repeats") < 3:
            raise ValueError(f"repeats must be 3 or more, so that there are quartiles; got {self.repeats}")
        for name in ("warmup", "seed"):
            if isinstance(getattr(self, name), bool) or not isinstance(getattr(self, name), int):
                raise TypeError(f"{name} must be a whole number; got {getattr(self, name)!r}")
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative; got {getattr(self, name)}")

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def chosen(self, engines: Sequence[str], always: Sequence[str]) -> list[str]:
        """The keys in `engines` that run: `peers` without `skip`, and those that run always, in the table's order.

        Raises ValueError for a key that is none of them.
        """
        optional = [key for key in engines if key not in always]
        listed = () if isinstance(self.peers, str) else self.peers
        for label, keys in (("peers", listed), ("skip", self.skip)):
            for key in keys:
                if key not in optional:
                    raise ValueError(f"{label}: there is no engine {key!r} here; there are {', '.join(optional)}")
        if isinstance(self.peers, str) and self.peers not in ("all", "none"):
            raise ValueError(f"peers must be 'all', 'none' or a list of engines; got {self.peers!r}")
        wanted = optional if self.peers == "all" else listed
        return [key for key in engines if key in always or (key in wanted and key not in self.skip)]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: every setting."""
        return {name: _plain(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class MatrixSettings(Common):
    """What `bench_matrices` measures; `shapes` are (outputs, inputs)."""

    shapes: tuple[tuple[int, int], ...] = SHAPES

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("shapes", tuple(check_shape(shape, "shapes") for shape in _several("shapes", self.shapes)))
        for shape, text in itertools.product(self.shapes, self.structures):
            BlockStructure.parse(text).group_shape(shape)

    def cases(self) -> Iterator[tuple[tuple[int, int], str, float, int, int]]:
        """Every combination: shape, structure, rate, tokens, threads."""
        return itertools.product(self.shapes, self.structures, self.rates, self.tokens, self.threads)


@dataclass(frozen=True)
class ModelSettings(Common):
    """What `bench_model` and `bench_training` measure."""

    model: str = "bert-base"
    batches: tuple[int, ...] = (1,)
    memory: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.model, str) or not self.model:
            raise ValueError(f"model must be a name or a folder as text, such as 'bert-base'; got {self.model!r}")
        self._set("batches", tuple(positive_int(value, "batches") for value in _several("batches", self.batches)))

    @property
    def label(self) -> str:
        """The model as records name it: a folder without where it lies, which is nobody else's business."""
        return Path(self.model).name or self.model

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: every setting."""
        return super().to_dict() | {"model": self.label}

    def cases(self) -> Iterator[tuple[str, float, int, int, int]]:
        """Every combination: structure, rate, batch, tokens, threads."""
        return itertools.product(self.structures, self.rates, self.batches, self.tokens, self.threads)


def _several(name: str, values: object) -> tuple[Any, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a list of values, even of one; got {values!r}")
    listed = tuple(values)
    if not listed:
        raise ValueError(f"{name} is empty: there is nothing to measure")
    return listed


def _plain(value: Any) -> Any:
    return [_plain(part) for part in value] if isinstance(value, tuple) else value
