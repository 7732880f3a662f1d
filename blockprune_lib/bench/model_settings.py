"""What the benchmarks of whole models are asked to measure: an encoder with all its rivals, or a step of training."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, field_serializer, model_validator

from .._common.settings import Positive
from .settings import CommonSettings, ModelCase, Precision, RivalSettings, Several


class EncoderSettings(CommonSettings):
    """Which encoder, and in what batches."""

    model: str = Field("bert-base", min_length=1, description=
        "a whole encoder instead: bert-base, roberta-base, distilbert-base (weights drawn anew), minilm, "
        "or a folder")  # fmt: skip
    batches: Several[Positive] = Field((1,), description="sequences, with --model (default: 1, with --training 8)")

    @property
    def label(self) -> str:
        """The model as records name it: a folder without where it lies, which is nobody else's business."""
        return Path(self.model).name or self.model

    @field_serializer("model")
    def _goes_by_its_label(self, model: str) -> str:
        return self.label


class TrainingSettings(EncoderSettings):
    """What `bench_training` measures: each structure is a case of its own."""

    batches: Several[Positive] = Field((8,), description=EncoderSettings.model_fields["batches"].description)

    def cases(self) -> Iterator[ModelCase]:
        """Every combination of the settings."""
        axes = [self.label], [(text,) for text in self.structures], self.rates, self.batches, self.tokens, self.threads
        return itertools.starmap(ModelCase, itertools.product(*axes))


def _lengths(value: Any) -> Any:
    """(7, 12, 31) of "7,12,31" or of a list; the name of a task, and None, as they came."""
    from ..data import tasks

    if value is None or value in tasks.NAMES:
        return value
    given = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else ()
    parts = [str(part).strip() for part in given]
    if not parts or not all(part.isdecimal() and int(part) for part in parts):
        raise ValueError(
            f"lengths must be whole numbers of at least 1 with commas between, or a task: {', '.join(tasks.NAMES)}; "
            f"got {value!r}: 7,12,31 or sst2 would do"
        )
    return tuple(map(int, parts))


Lengths = Annotated[str | tuple[int, ...] | None, BeforeValidator(_lengths)]


class ModelSettings(EncoderSettings, RivalSettings):
    """What `bench_model` measures: the structures of a case run side by side, beside one set of rivals."""

    precisions: Several[Precision] = Field(("float32",), description=
        "of blockprune, with --model or --kernels: float32, bfloat16, or auto, the fastest there is here")  # fmt: skip
    lengths: Lengths = Field(None, description=
        "with --model: a batch of mixed lengths, 7,12,31, or those of sentences drawn from a task, sst2")  # fmt: skip
    memory: bool = Field(False, description=
        "with --model: bytes of the dense and the sparse model, each in its own process")  # fmt: skip

    @model_validator(mode="after")
    def _lengths_say_the_rest(self) -> Self:
        if self.lengths is not None and "tokens" in self.model_fields_set:
            raise ValueError("tokens: lengths say how many; leave one of them out")
        if isinstance(self.lengths, tuple) and "batches" in self.model_fields_set:
            raise ValueError("batches: lengths say how many sequences; leave one of them out")
        if self.lengths is not None and self.memory:
            raise ValueError("memory: measured with sequences of one length; leave lengths out")
        return self

    def cases(self) -> Iterator[ModelCase]:
        """Every combination of the settings but the structures; with lengths, tokens are the longest there may be."""
        batches, tokens = self.batches, self.tokens
        if isinstance(self.lengths, tuple):
            batches, tokens = (len(self.lengths),), (max(self.lengths),)
        axes = [self.label], [self.structures], self.rates, batches, tokens, self.threads, [self.lengths]
        return itertools.starmap(ModelCase, itertools.product(*axes))
