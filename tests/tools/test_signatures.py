"""Signatures on the library's page: short names of types, and values of constants."""

import dataclasses
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

import blockprune_lib as bp
from tools.signatures import written

Shape = tuple[int, int]
Side = Literal["rows", "columns"]
Example = Mapping[str, Tensor] | Tensor
SHORT = (1.5, 2.0)
LONG = tuple(range(100))


def function(
    shape: Shape, side: Side = "rows", *rest: int, x: npt.ArrayLike, example: Example | None = None,
    rates: Sequence[float] = SHORT, long: Sequence[int] = LONG, eps: float = 1e-3,
    clock: Callable[[], float] = time.perf_counter, **which: bool,
) -> dict[str, torch.Tensor]:  # fmt: skip
    raise NotImplementedError


def test_an_alias_is_what_it_stands_for_and_a_short_constant_its_value():
    assert written(function) == (
        "(shape: tuple[int, int], side: Literal['rows', 'columns'] = 'rows', *rest: int, x: ArrayLike, "
        "example: Mapping[str, Tensor] | Tensor | None = None, rates: Sequence[float] = (1.5, 2.0), "
        "long: Sequence[int] = LONG, eps: float = 0.001, clock: Callable[[], float] = time.perf_counter, "
        "**which: bool)",
        "dict[str, Tensor]",
    )


@dataclasses.dataclass(frozen=True)
class Outside:
    """Of another package."""

    number: int


class Made:
    def __init__(self, model: nn.Module, count: Annotated[int, "at least 1"] = 1) -> None: ...

    @classmethod
    def of(cls, text: str) -> list[nn.Module]:
        raise NotImplementedError

    def method(self) -> None: ...

    @property
    def half(self) -> float:
        raise NotImplementedError


def test_a_class_is_told_by_what_makes_it_and_a_method_without_self():
    assert written(Made) == ("(model: Module, count: int = 1)", "")
    assert written(Made.of) == ("(text: str)", "list[Module]")
    assert written(Made.method, method=True) == ("()", "")


def test_fields_of_the_library_are_told_in_order_with_defaults_and_without_private_ones():
    told = written(bp.tasks.Task)[0]
    assert told.startswith("(name: str, train: Any")
    assert not re.search("_encoded|factory", told)
    assert "history: list[dict[str, Any]] = []" in written(bp.training.StageReport)[0]
    assert written(bp.TrainingSettings)[0].startswith("(*, learning_rate: float = 5e-05, batch_size: int = 32")
    assert written(bp.machine.Hardware)[0].startswith(
        "(cpu: str, physical_cores: int | None"
    )  # its base's fields first


@pytest.mark.parametrize("thing", [Outside, int, UserWarning, print, None])
def test_what_is_not_ours_is_left_to_sphinx(thing: Any):
    assert written(thing) is None
