"""One case of a benchmark as its record keeps it: what was run, every sample of every engine, and what follows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

import numpy as np
from pydantic import ConfigDict, Field, model_serializer, model_validator

from .._common.settings import Settings
from ..machine.comparison import Comparison, Timing
from ..machine.comparison import Ratio as Measured
from .engine import Engine

#: How the keys of this library's engines begin.
OURS = "blockprune"


class Part(Settings):
    """A part of a record; keys that this version does not know are passed over."""

    model_config = ConfigDict(extra="ignore")


class Sparse(Part):
    """A part that is written without its fields that are None."""

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, dump: Any) -> dict[str, Any]:
        return {key: value for key, value in dump(self).items() if value is not None}


class Spread(Part):
    """Samples with their quartiles."""

    median: float
    q1: float = Field(description="a quarter of the samples is lower")
    q3: float = Field(description="a quarter of the samples is higher")
    samples: list[Annotated[float, Field(gt=0)]] = Field(
        min_length=1, description="one a round, in the order of the rounds; of the peak, one a burst"
    )

    @classmethod
    def made(cls, samples: Sequence[float]) -> Self:
        """The samples and what follows from them.

        >>> Spread.made([4.0, 1.0, 2.0]).median
        2.0
        """
        q1, q3 = map(float, np.quantile(samples, [0.25, 0.75]))
        return cls(median=float(np.median(samples)), q1=q1, q3=q3, samples=list(samples))


class Ratio(Part):
    """How many times as fast, with its 95 % interval."""

    value: float
    low: float = Field(description="the lower end of the 95 % interval")
    high: float = Field(description="its upper end")

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


class Result(Sparse):
    """An engine that answered rightly: how it was run and how long it took."""

    key: str
    name: str
    precision: str = Field(description="of its arithmetic")
    structure: str | None = Field(default=None, description="of what it keeps, where a case has several")
    threads: int
    error: float = Field(description="largest difference from the reference ÷ largest number of the reference")
    tolerance: float = Field(description="the error that was allowed")
    inner: int = Field(description="calls in a row that a sample is the mean of")
    ms: Spread = Field(description="milliseconds per call")
    ratio_to_baseline: Ratio = Field(description="times as fast as the baseline")
    ours_ratio_to_it: Ratio = Field(description="times as fast as this engine ours is")
    useful_gflops: float = Field(description="operations ÷ median")
    share_of_peak: float = Field(description="useful_gflops ÷ median of peak_gflops, or of peak_bfloat16_gflops")


class Skipped(Part):
    """An engine that did not run."""

    engine: str = Field(description="its key")
    why: str
    install: str = Field(default="", description="the pip line that would help, or empty")


class What(Sparse):
    """What was run: a matrix, which has a shape, or a model, which has a name and a batch."""

    shape: list[int] | None = Field(default=None, description="outputs and inputs of a matrix")
    model: str | None = None
    structure: str = Field(description="as --structure takes it; several with commas between")
    rate: float = Field(description="all groups ÷ kept groups that was asked for")
    kept: int = Field(description="weights kept, of the pruned matrices, by the first structure")
    density: float = Field(description="kept weights ÷ all weights of the pruned matrices")
    batch: int | None = Field(default=None, description="sequences that a model runs at once")
    tokens: int = Field(description="per sequence, the longest one where they are mixed; or the rows of X")
    lengths: list[int] | None = Field(default=None, description="tokens of each sequence, where they are mixed")
    text: str | None = Field(default=None, description="the task whose sentences they are")
    threads: int = Field(description="that were asked of every engine")

    @model_validator(mode="after")
    def _is_something(self) -> Self:
        if self.shape is None and (self.model is None or self.batch is None):
            raise ValueError("must have a shape, or a model and a batch")
        return self

    def __str__(self) -> str:
        size = str(self.model) if self.shape is None else " x ".join(map(str, self.shape))
        batch = "" if self.batch is None else f"batch {self.batch} x "
        tokens = count(self.tokens, "token")
        if self.lengths is not None:
            of = f" of {self.text}" if self.text else ""
            batch, tokens = (
                f"batch of {self.batch}{of}, ",
                f"{min(self.lengths)} to {tokens}, {sum(self.lengths)} in all",
            )
        pruned = f"{self.structure} at rate {self.rate:g} ({self.density:.1%} kept)"
        return f"{size}, {pruned}, {batch}{tokens}, {count(self.threads, 'thread')}"


class Case(Part):
    """The engines that ran one product or model, side by side.

    The useful operations are 2 x tokens x kept weights, and in a model those of attention's products; padding has none.
    They are the same for every engine, so that GFLOP/s rank as times do and a dense engine earns nothing for
    multiplying by zero (structures keep the same share up to one group a matrix: each engine of ours counts its own).
    """

    what: What
    operations: float = Field(description="useful floating-point operations of one call, those of dense engines")
    baseline: str = Field(description="key of the engine that ratio_to_baseline divides by")
    ours: str = Field(description="key of this library's engine, the first of them")
    rounds: int = Field(description="samples of each engine")
    warmup: int = Field(description="untimed calls before them")
    seed: int = Field(description="of the order of turns and of the intervals")
    threads_in_force: dict[str, int | None] = Field(description="threads that torch and Numba were set to")
    peak_gflops: Spread = Field(description="of every burst of multiply-adds between the engines' turns")
    peak_bfloat16_gflops: Spread | None = Field(
        default=None, description="the same in bfloat16, where an engine runs in it and the machine has it"
    )
    engines: list[Result]
    skipped: list[Skipped]
    memory: dict[str, dict[str, int | None]] | None = Field(
        description="bytes of the dense and of the sparse model, where asked for"
    )

    @classmethod
    def made(
        cls, what: What, operations: float, ours: str, engines: Mapping[str, Engine],
        errors: Mapping[str, tuple[float, float]], compared: Comparison, peaks: Mapping[str, Sequence[float]],
        skipped: Sequence[Skipped],
    ) -> Case:  # fmt: skip
        """The case of timings; `errors`: (largest error, error allowed) of each engine; `peaks`: GFLOP/s of bursts."""
        results, roofs = [], {precision: Spread.made(rates) for precision, rates in peaks.items()}
        for key, engine in engines.items():
            timing, (error, tolerance) = compared.timings[key], errors[key]
            to_it = dataclasses.replace(compared, baseline=key).ratio(ours)
            gflops = (engine.operations or operations) / timing.median / 1e6
            results.append(Result(
                key=key, name=engine.name, precision=engine.precision, structure=engine.structure,
                threads=engine.threads or what.threads, error=error, tolerance=tolerance, inner=timing.inner,
                ms=Spread.made(timing.samples_ms), ratio_to_baseline=Ratio(**vars(compared.ratio(key))),
                ours_ratio_to_it=Ratio(**vars(to_it)), useful_gflops=gflops,
                share_of_peak=gflops / roofs.get(engine.precision, roofs["float32"]).median,
            ))  # fmt: skip
        return cls(
            what=what, operations=operations, baseline=compared.baseline, ours=ours, rounds=compared.rounds,
            warmup=compared.warmup, seed=compared.seed, threads_in_force=dict(compared.threads),
            peak_gflops=roofs["float32"], peak_bfloat16_gflops=roofs.get("bfloat16"),
            engines=results, skipped=list(skipped), memory=None,
        )  # fmt: skip

    @model_serializer(mode="wrap")
    def _without_a_peak_that_is_not_there(self, dump: Any) -> dict[str, Any]:
        return {key: value for key, value in dump(self).items() if key != "peak_bfloat16_gflops" or value is not None}

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        keys = [engine.key for engine in self.engines]
        for role in ("baseline", "ours"):
            if getattr(self, role) not in keys:
                raise ValueError(f"{role} must be one of the engines {', '.join(keys)}; got {getattr(self, role)!r}")
        if len({len(engine.ms.samples) for engine in self.engines}) != 1:
            raise ValueError("the engines must have equally many samples")
        return self

    def engine(self, key: str) -> Result:
        """The engine with this key."""
        return next(engine for engine in self.engines if engine.key == key)

    @property
    def rivals(self) -> list[Result]:
        """The engines that are not of this library."""
        return [engine for engine in self.engines if not engine.key.startswith(OURS)]

    @property
    def all_ours(self) -> list[Result]:
        """The engines of this library."""
        return [engine for engine in self.engines if engine.key.startswith(OURS)]

    def ratio(self, key: str, baseline: str) -> Measured:
        """How many times as fast as the engine `baseline` the engine `key` is, with its 95 % interval."""
        timings = {name: Timing(name, tuple(self.engine(name).ms.samples), 1) for name in (key, baseline)}
        return Comparison(timings, baseline, self.threads_in_force, self.warmup, self.seed).ratio(key)

    def fastest_rivals(self) -> dict[str, Result]:
        """The fastest rival in each precision."""
        found: dict[str, Result] = {}
        for engine in sorted(self.rivals, key=lambda engine: engine.ms.median):
            found.setdefault(engine.precision, engine)
        return found


def count(number: int, word: str, plural: str = "") -> str:
    """A number and its noun.

    >>> count(1, "token"), count(2, "token")
    ('1 token', '2 tokens')
    """
    return f"{number} {word if number == 1 else plural or word + 's'}"
