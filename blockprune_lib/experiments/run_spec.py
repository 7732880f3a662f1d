"""`Run`: one combination of a recipe's lists, every setting resolved."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import Field

from .._common.settings import Number, Settings, Whole
from ..training.settings import LearningSettings, TrainingSettings
from .methods import KEEP_LAYERS, METHODS, Stage
from .stage_settings import AUTO, TRAINED


class Run(Settings):
    """What one run does; its record repeats all of it."""

    model: str
    task: str
    structure: str = Field(description="as BlockStructure.parse takes it")
    method: str
    seed: Whole = Field(description="of the head, the order of examples and dropout")
    rate: Number = Field(description="all groups / kept groups that is asked for")
    stages: dict[str, dict[str, Any]] = Field(description="every setting of each stage, the preset's included")
    options: dict[str, Any] = Field(description="preset, rows, which matrices")
    description: dict[str, Any] | None = Field(None, description="of the user's own data; null for a GLUE task")

    @property
    def name(self) -> str:
        """A file name, that of the record, which tells the runs of one recipe apart."""
        structure, rate, seed = self.structure.replace(":", "-"), f"rate{self.rate:g}", f"seed{self.seed}"
        layers = f"{self.method}-{self.layers}-layers" if self.layers else self.method
        variant = self.options.get("variant")
        method = f"{layers}-{variant}" if variant else layers
        parts = (self.task, Path(self.model).name, structure, method, rate, seed)
        return "_".join(re.sub(r"[^\w.\-]+", "-", part) for part in parts)

    def to_dict(self) -> dict[str, Any]:
        """Everything that decides the result, JSON-able."""
        return self.model_dump(mode="json")

    @property
    def which(self) -> dict[str, Any]:
        """Which matrices besides the encoder's are pruned: the flags of `prunable`."""
        return {part: self.options[part] for part in ("embeddings", "pooler", "classifier")}

    @property
    def layers(self) -> int | None:
        """How many of the encoder's layers are kept; None for all."""
        return self.options.get("layers")

    @property
    def method_stages(self) -> tuple[Stage, ...]:
        """What is done, in order."""
        auto = self.stages["reweight"].get("lam") == AUTO
        first, *rest = METHODS[self.method].stages_with(self.stages["prune"].get("schedule", "once"), auto)
        return (first, *([KEEP_LAYERS] if self.layers else []), *rest)

    def settings(self, key: str) -> TrainingSettings:
        """The `TrainingSettings` of a trained stage, by its key in the recipe."""
        chosen = {name: value for name, value in self.stages[key].items() if name in LearningSettings.model_fields}
        return TrainingSettings(**chosen, seed=self.seed)

    def extra(self, key: str) -> dict[str, Any]:
        """What the recipe says of a stage besides its `TrainingSettings`."""
        training = LearningSettings.model_fields if key in TRAINED else ()  # pruning has a schedule too: another
        return {name: value for name, value in self.stages[key].items() if name not in training}

    def budget(self, stage: Stage) -> TrainingSettings:
        """The settings of a trained stage, as long as all the stages in its budget together."""
        keys = stage.budget or (stage.key,)
        parts = [self.settings(key) for key in keys]
        limits = [part.max_steps for part in parts if part.max_steps > 0]
        if 0 < len(limits) < len(parts):
            given = ", ".join(f"{key} {part.max_steps}" for key, part in zip(keys, parts, strict=True))
            raise ValueError(
                f"recipe: max_steps must be given to all of {' and '.join(keys)}, or to none (-1); got {given}: "
                f"{keys[[part.max_steps for part in parts].index(-1)]}.max_steps={limits[0]} would do"
            )
        length = {"max_steps": sum(limits)} if limits else {"epochs": sum(part.epochs for part in parts)}
        return self.settings(stage.key).replace(**length)
