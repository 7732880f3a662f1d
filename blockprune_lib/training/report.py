"""What one training stage did: `StageReport`, which prints itself, and turns into JSON and back (`to_dict`, `of`)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from .._common.settings import Settings
from .._common.tables import html_table
from .settings import TrainingSettings

#: (first, last); JSON has a list for it.
Pair = Annotated[tuple[float, float], Field(strict=False)]


class StageReport(Settings):
    """What one stage did.

    stage, steps, examples   its name; optimiser steps; training rows
    seconds, evaluation_seconds   of the training alone; of all scoring, before, within and after it
    cpu_seconds     what all threads computed, scoring within the training included; other programs hardly change it
    device, bf16    where it ran; whether it multiplied in bfloat16
    metric          the score to compare by
    before, after   all scores on the validation rows, {name: -1 to 1}
    majority        what the majority class (for a regression, the mean) scores there
    loss, penalty   (first, last): means over some steps at either end
    near_zero       (first, last) share of groups whose root mean square is below a tenth of their matrix's
    refreshes       how often the weights α were computed anew
    density, densities   kept share of the masked matrices, all together and {parameter name: share}
    settings        the `TrainingSettings`
    processes, resumed   trained side by side; how often the stage was resumed
    tokens          trained on, padding left out
    history         what was logged, one dict an entry
    """

    model_config = ConfigDict(allow_inf_nan=True)

    stage: str
    steps: int
    seconds: float
    evaluation_seconds: float
    device: str
    examples: int
    metric: str | None
    majority: dict[str, float] | None
    before: dict[str, float] | None
    after: dict[str, float] | None
    loss: Pair | None
    penalty: Pair | None = None
    near_zero: Pair | None = None
    refreshes: int | None = None
    density: float | None = None
    settings: TrainingSettings
    densities: dict[str, float] = Field(default_factory=dict)
    processes: int = 1
    tokens: int | None = None
    cpu_seconds: float | None = None
    bf16: bool | None = None
    resumed: int = 0
    history: list[dict[str, Any]] = Field(default_factory=list)

    def rows(self) -> dict[str, str]:
        """What a reader sees: {label: text}."""
        pace = f", {1000 * self.seconds / self.steps:.0f} ms per step" if self.steps else ""
        if self.tokens and self.seconds:
            pace += f", {self.tokens / self.seconds:,.0f} tokens per second"
        batch = self.settings.batch_size * self.settings.gradient_accumulation_steps
        rows = {"steps": f"{self.steps:,} of {batch} in {self.seconds:.1f} s on {self.device}{pace}"}
        if self.loss:
            rows["loss"] = _arrow(*self.loss)
        if self.metric and self.after:
            first = self.before[self.metric] if self.before else None
            rows[self.metric] = _arrow(first, self.after[self.metric]) + f" on {self.examples:,} examples"
            if self.majority:
                rows[self.metric] += f" (majority {self.majority[self.metric]:.3f})"
        if self.penalty:
            rows["penalty"] = _arrow(*self.penalty)
        if self.near_zero:
            rows["near zero"] = f"{self.near_zero[0]:.1%} -> {self.near_zero[1]:.1%} of groups below a tenth of the RMS"
        if self.refreshes is not None:
            rows["reweighted"] = f"{self.refreshes} times after the start"
        if self.density is not None:
            rows["density"] = f"{self.density:.1%} of the pruned matrices, held by masks"
        return rows

    def __repr__(self) -> str:
        return "\n".join([self.stage, *(f"{label:<12}{text}" for label, text in self.rows().items())])

    def _repr_html_(self) -> str:
        rows = [[label, text.replace("->", "→")] for label, text in self.rows().items()]
        return html_table([["", ""], *rows], self.stage)


def first_and_last(history: list[dict[str, Any]], key: str) -> tuple[float, float] | None:
    """The first and the last logged value of `key`, or None where it was never logged."""
    values = [entry[key] for entry in history if key in entry]
    return (float(values[0]), float(values[-1])) if values else None


def _arrow(first: float | None, last: float) -> str:
    return f"{last:.4g}" if first is None else f"{first:.4g} -> {last:.4g}"
