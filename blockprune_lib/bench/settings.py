"""What a benchmark is asked to measure, checked before anything is measured.

`blockprune bench` makes its flags from these fields: the name, the type, the default and the description of each.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeVar

from pydantic import BeforeValidator, Field, field_serializer, model_validator

from .._common.settings import Positive, Settings, Whole

#: The engines that may be run beside torch and blockprune, in the order of the tables; a model has the dense ones.
PEERS = ("torch-bf16", "torch-compile", "onnxruntime", "openvino", "openvino-bf16", "torch-csr", "torch-bsr",
         "torch-bsr-linear", "scipy-csr", "scipy-bsr")  # fmt: skip


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
Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Value = TypeVar("Value")
#: A list of values to measure, even of one.
Several = Annotated[tuple[Value, ...], Field(min_length=1), BeforeValidator(_listed)]


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
    """One combination of the settings of a model, which goes by its label."""

    model: str
    structure: str
    rate: float
    batch: int
    tokens: int
    threads: int

    def __str__(self) -> str:
        return f"{self.model}, {self.structure}, rate {self.rate:g}, batch {self.batch} x {self.tokens} tokens"


class CommonSettings(Settings):
    """What every benchmark takes; each combination of the values in the tuples is a case."""

    structures: Several[Structure] = Field(("block_column:16",), description=
        "irregular, block_row:WIDTH, block_column:HEIGHT, tile:HEIGHTxWIDTH, row or column")  # fmt: skip
    rates: Several[Rate] = Field((5.0,), description="all groups / kept groups")
    tokens: Several[Positive] = Field((128,), description="tokens per sequence")
    threads: Several[Positive] = Field((1,), description="threads of every engine; SciPy always uses one")
    repeats: Whole = Field(30, ge=3, description="rounds, 3 or more")  # with fewer there are no quartiles
    warmup: Whole = Field(3, ge=0, description="untimed calls before them")
    peers: Literal["all", "none"] | Names = Field("all", description=
        f"all, none, or engines separated by commas: {', '.join(PEERS)}; models have the dense ones")  # fmt: skip
    skip: Names = Field((), description=
        "engines to leave out: torch-bsr-linear is slow, torch-compile takes long to compile")  # fmt: skip
    seed: Whole = Field(0, ge=0, description="of weights, tokens and turns")

    def engines(self, known: Iterable[str]) -> list[str]:
        """The keys in `known` that run, in that order: `peers` without `skip`, and always the first and the last.

        Raises ValueError for a key that is none of them.
        """
        first, *optional, last = known
        listed = () if isinstance(self.peers, str) else self.peers
        for name, key in [("peers", key) for key in listed] + [("skip", key) for key in self.skip]:
            if key not in optional:
                raise ValueError(f"{name}: there is no engine {key!r} here; there are {', '.join(optional)}")
        wanted = set(optional if self.peers == "all" else listed) - set(self.skip)
        return [first, *(key for key in optional if key in wanted), last]


class MatrixSettings(CommonSettings):
    """What `bench_matrices` measures; `shapes` are (outputs, inputs)."""

    shapes: Several[Shape] = Field(((768, 768), (3072, 768), (768, 3072)), description="outputs x inputs of a matrix")

    @model_validator(mode="after")
    def _blocks_fit(self) -> Self:
        from ..pruning.structure import BlockStructure

        for shape, text in itertools.product(self.shapes, self.structures):
            BlockStructure.parse(text).group_shape(shape)
        return self

    def cases(self) -> Iterator[MatrixCase]:
        """Every combination of the settings."""
        axes = self.shapes, self.structures, self.rates, self.tokens, self.threads
        return itertools.starmap(MatrixCase, itertools.product(*axes))


class ModelSettings(CommonSettings):
    """What `bench_model` and `bench_training` measure."""

    model: str = Field("bert-base", min_length=1, description=
        "a whole encoder instead: bert-base, roberta-base, distilbert-base (weights drawn anew), minilm, "
        "or a folder")  # fmt: skip
    batches: Several[Positive] = Field((1,), description="sequences, with --model (default: 1, with --training 8)")
    memory: bool = Field(False, description=
        "with --model: bytes of the dense and the sparse model, each in its own process")  # fmt: skip

    @property
    def label(self) -> str:
        """The model as records name it: a folder without where it lies, which is nobody else's business."""
        return Path(self.model).name or self.model

    @field_serializer("model")
    def _goes_by_its_label(self, model: str) -> str:
        return self.label

    def cases(self) -> Iterator[ModelCase]:
        """Every combination of the settings."""
        axes = [self.label], self.structures, self.rates, self.batches, self.tokens, self.threads
        return itertools.starmap(ModelCase, itertools.product(*axes))
