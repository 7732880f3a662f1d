"""What a benchmark is asked to measure, checked before anything is measured.

`blockprune bench` makes its flags from these fields: the name, the type, the default and the description of each.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from .._common.settings import Positive, Settings, Whole
from .rivals import RIVALS, Rival


def _listed(values: Any) -> Any:
    """Any iterable but text as a tuple."""
    return tuple(values) if isinstance(values, Iterable) and not isinstance(values, str) else values


def _sides(shape: Any) -> Any:
    """(M, N) of "MxN"; anything else as it came."""
    if not isinstance(shape, str):
        return _listed(shape)
    outputs, times, inputs = shape.strip().lower().partition("x")
    return (int(outputs), int(inputs)) if times and outputs.isdecimal() and inputs.isdecimal() else shape


def _structure(text: Any) -> str:
    """The structure as it writes itself; raises ValueError where it is none."""
    from ..pruning.structure import BlockStructure  # torch comes with it, which the command's help does without

    return str(BlockStructure.parse(str(text)))


Shape = Annotated[tuple[Positive, Positive], BeforeValidator(_sides),
                  Field(description="OUTPUTSxINPUTS, each at least 1", examples=["3072x768"])]  # fmt: skip
Structure = Annotated[str, BeforeValidator(_structure)]
Rate = Annotated[float, Field(ge=1, examples=[5])]
Precision = Literal["float32", "bfloat16", "auto"]
Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Value = TypeVar("Value")
#: A list of values to measure, even of one.
Several = Annotated[tuple[Value, ...], Field(min_length=1), BeforeValidator(_listed)]


#: (outputs, inputs) of BERT-base's matrices.
SHAPES = ((768, 768), (3072, 768), (768, 3072))


class MatrixCase(NamedTuple):
    """One combination of the settings of a matrix."""

    shape: tuple[int, int]
    structure: str
    rate: float
    tokens: int
    threads: int

    def __str__(self) -> str:
        count = f"{self.tokens} tokens, {self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"{self.shape[0]} x {self.shape[1]}, {self.structure}, rate {self.rate:g}, {count}"


class ModelCase(NamedTuple):
    """One combination of the settings of a model, which goes by its label; its structures run side by side."""

    model: str
    structures: tuple[str, ...]
    rate: float
    batch: int
    tokens: int
    threads: int
    lengths: Any = None

    def __str__(self) -> str:
        what = f"{self.model}, {', '.join(self.structures)}, rate {self.rate:g}, batch {self.batch}"
        tokens = f"x {self.tokens} tokens" if self.lengths is None else f"of {self.lengths}"
        return f"{what} {tokens}, {self.threads} thread{'s' * (self.threads > 1)}"


class CommonSettings(Settings):
    """What every benchmark takes; each combination of the values in the tuples is a case."""

    structures: Several[Structure] = Field(("block_column:16",), description=
        "irregular, block_row:WIDTH, block_column:HEIGHT, tile:HEIGHTxWIDTH, row or column")  # fmt: skip
    rates: Several[Rate] = Field((5.0,), description="all groups / kept groups")
    tokens: Several[Positive] = Field((128,), description="tokens per sequence")
    threads: Several[Positive] = Field((1,), description="threads of every engine; SciPy always uses one")
    repeats: Whole = Field(30, ge=3, description="rounds, 3 or more")  # with fewer there are no quartiles
    warmup: Whole = Field(3, ge=0, description="untimed calls before them")
    seed: Whole = Field(0, ge=0, description="of weights, tokens and turns")


class RivalSettings(CommonSettings):
    """What every benchmark with rivals takes."""

    peers: Literal["all", "none"] | Names = Field("all", description=
        f"all, none, or engines separated by commas: {', '.join(rival.key for rival in RIVALS[1:])}")  # fmt: skip
    skip: Names = Field((), description=
        "engines to leave out: torch-bsr-linear is slow, torch-compile takes long to compile")  # fmt: skip

    def chosen(self, known: Mapping[str, Rival]) -> list[Rival]:
        """The rivals in `known` that run, in that order: the first always, and `peers` without `skip`.

        Raises ValueError for a key that is none of the others.
        """
        first, *optional = known
        listed = () if isinstance(self.peers, str) else self.peers
        for name, key in [("peers", key) for key in listed] + [("skip", key) for key in self.skip]:
            if key not in optional:
                raise ValueError(f"{name}: there is no engine {key!r} here; there are {', '.join(optional)}")
        wanted = set(optional if self.peers == "all" else listed) - set(self.skip)
        return [known[first], *(known[key] for key in optional if key in wanted)]


class MatrixSettings(RivalSettings):
    """What `bench_matrices` measures; `shapes` are (outputs, inputs)."""

    shapes: Several[Shape] = Field(SHAPES, description="outputs x inputs of a matrix")

    @model_validator(mode="after")
    def _blocks_fit(self) -> Self:
        fit(self.structures, self.shapes)
        return self

    def cases(self) -> Iterator[MatrixCase]:
        """Every combination of the settings."""
        axes = self.shapes, self.structures, self.rates, self.tokens, self.threads
        return itertools.starmap(MatrixCase, itertools.product(*axes))


class KernelSettings(CommonSettings):
    """What `bench_kernels` measures; `shapes` are (outputs, inputs)."""

    shapes: Several[Shape] = Field(SHAPES, description="outputs x inputs of a matrix")
    structures: Several[Structure] = Field(
        (*(f"block_column:{height}" for height in (4, 8, 16, 32, 64)), *(f"block_row:{width}" for width in
         (16, 32, 64, 96)), "tile:16x16", "tile:32x32", "irregular"),
        description=CommonSettings.model_fields["structures"].description,
    )  # fmt: skip
    precisions: Several[Precision] = Field(("float32",), description="float32, bfloat16 or auto")
    threads: Several[Literal[1]] = Field((1,), description="one: kernels are told no number of threads")

    @model_validator(mode="after")
    def _blocks_fit(self) -> Self:
        fit(self.structures, self.shapes)
        return self

    def cases(self) -> Iterator[MatrixCase]:
        """Every combination of the settings."""
        axes = self.shapes, self.structures, self.rates, self.tokens, self.threads
        return itertools.starmap(MatrixCase, itertools.product(*axes))


def fit(structures: Iterable[str], shapes: Iterable[tuple[int, int]]) -> None:
    """Raise ValueError where a block is larger than a matrix."""
    from ..pruning.structure import BlockStructure

    for shape, text in itertools.product(shapes, structures):
        BlockStructure.parse(text).group_shape(shape)
