"""An engine that a benchmark times: a rival of the register, or this library, prepared to run one piece of work.

Nothing here needs a network or sends anything.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from .rivals import Rival

PIP = "pip install 'blockprune-lib[peers]'"
#: Packages that the extra does not bring, since they bring many more.
MORE = ("nncf",)


class UnavailableError(Exception):
    """An engine cannot run here; the text says why. `install` is the pip line that would help, or empty."""

    def __init__(self, why: str, install: str = "") -> None:
        super().__init__(why)
        self.install = install


class Calls(NamedTuple):
    """What is timed, and what runs once and gives the result as float64."""

    run: Callable[[], object]
    answer: Callable[[], np.ndarray]


@dataclass(frozen=True)
class Engine:
    """A prepared way to run a product or a model.

    `threads` is None where it takes as many as it is given. `expected` gives the right answer, and `operations` the
    useful ones, where they are not those of the case: two structures keep different weights of one model.
    """

    key: str
    name: str
    run: Callable[[], object]
    answer: Callable[[], np.ndarray]
    precision: str = "float32"
    threads: int | None = None
    structure: str | None = None
    operations: float | None = None
    expected: Callable[[], np.ndarray] | None = None


class Work(ABC):
    """A product with a masked weight, or a model of such products, and what it is run on."""

    threads: int

    @property
    @abstractmethod
    def inputs(self) -> Mapping[str, torch.Tensor]:
        """What every engine is given, by the names of the graph's inputs."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """The sizes that the graph leaves open, by their names."""
        return {}

    @abstractmethod
    def module(self, dtype: torch.dtype) -> torch.nn.Module:
        """The dense product, every zero stored, with weights of this type; called with the `given` of this type."""

    @abstractmethod
    def given(self, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
        """The inputs as a module of this type takes them."""

    @abstractmethod
    def graph(self) -> bytes | str:
        """The dense product as an ONNX graph, serialised or the path of a file."""

    @abstractmethod
    def read(self, result: np.ndarray) -> np.ndarray:
        """What counts of an engine's result, as float64: all but padding."""

    def answer_of(self, result: Callable[[], Any]) -> Callable[[], np.ndarray]:
        """A function that runs `result`, which returns a tensor or an array, and reads what counts of it."""

        def answer() -> np.ndarray:
            found = result()
            return self.read(found.detach().float().numpy() if isinstance(found, torch.Tensor) else found)

        return answer


def engine_of(rival: Rival, work: Work) -> Engine:
    """The rival, prepared to run `work`. Raises UnavailableError where it cannot."""
    for module in rival.needs:
        imported(module)
    file, _, function = rival.make.partition(":")
    maker: Callable[[Work, str], Calls] = getattr(importlib.import_module(f".{file}", __package__), function)
    return Engine(rival.key, rival.name, *maker(work, rival.precision), rival.precision, rival.threads)


def imported(module: str) -> Any:
    """The module, or UnavailableError with the pip line where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        name = module.partition(".")[0]
        raise UnavailableError(f"{name} is not installed", f"pip install {name}" if name in MORE else PIP) from None


def in_a_line(error: Exception) -> str:
    """What an engine raised, in a line: the type, and the first line of what it says.

    >>> in_a_line(OSError("no such instruction\\nmore"))
    'OSError: no such instruction'
    """
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:160]}"
