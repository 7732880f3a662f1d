"""A recipe: what to run, as a YAML file or a dict, checked before anything is trained.

    preset: best                          # or paper
    model: minilm                         # a name of models.load, or a folder
    task: rte                             # a GLUE task, or a description of your own data (see `own_data`)
    structure: [block_row:64, tile:32x32]
    rate: [1.79, 5]
    method: [reweighted, magnitude]
    seed: [1, 2, 3]
    retrain: {epochs: 10}                 # overrides the preset's settings of a stage

Keys with a list are swept: every combination is one `Run`. Left out: running them (see `runner`).
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._common.checks import finite_number
from ..data.tasks import NAMES
from ..pruning.structure import BlockStructure
from ..training.settings import TrainingSettings
from . import safe_yaml
from .presets import PRESETS, TRAINED, Stages, preset
from .stage_checks import check_stages

#: method -> what it runs.
METHOD_MEANING = {
    "reweighted": "fine-tune, train with the reweighted group Lasso, prune, retrain: the method of the book",
    "no-refresh": "the same, with alpha computed once: what the authors' scripts in effect ran",
    "group-lasso": "the same with alpha = 1: group Lasso without reweighting",
    "magnitude": "fine-tune, as many steps more without any penalty, prune, retrain",
    "gradual": "fine-tune, then prune by magnitude on the cubic schedule, for the steps of both later stages",
    "movement": "fine-tune, then prune by movement (Sanh et al. 2020) on the cubic schedule, as long as that",
    "one-shot": "fine-tune and prune; nothing is retrained",
}
SWEPT = ("model", "task", "structure", "method", "seed", "rate")
PLAIN = ("preset", "train_rows", "validation_rows", "data_seed", "embeddings", "pooler", "classifier", "keep_model")
_NOT_SETTINGS = ("output_dir", "seed", "progress", "evaluate_first")
_TRAINING = tuple(f.name for f in dataclasses.fields(TrainingSettings) if f.name not in _NOT_SETTINGS)
STAGE_KEYS = {
    "fine_tune": _TRAINING,
    "reweight": (*_TRAINING, "lam", "eps", "refresh_every", "method", "lam_schedule", "scale_by_size"),
    "prune": ("scope", "balanced", "schedule", "begin", "end"),
    "retrain": (*_TRAINING, "support", "distil", "temperature"),
}


@dataclass(frozen=True)
class Run:
    """One combination of a recipe's lists, every setting resolved; `name` is that of its record's file."""

    model: str
    task: str
    structure: str
    method: str
    seed: int
    rate: float
    stages: Stages
    options: dict[str, Any]
    description: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """A file name that tells the runs of one recipe apart."""
        model = Path(self.model).name
        parts = (
            self.task,
            model,
            self.structure.replace(":", "-"),
            self.method,
            f"rate{self.rate:g}",
            f"seed{self.seed}",
        )
        return "_".join(re.sub(r"[^\w.\-]+", "-", part) for part in parts)

    def to_dict(self) -> dict[str, Any]:
        """Everything that decides the result, JSON-able."""
        return dataclasses.asdict(self)

    def settings(self, stage: str, output_dir: os.PathLike[str] | str | None, progress: bool) -> TrainingSettings:
        """The `TrainingSettings` of a trained stage."""
        chosen = {key: value for key, value in self.stages[stage].items() if key in _TRAINING}
        return TrainingSettings(**chosen, seed=self.seed, output_dir=output_dir, progress=progress)

    def extra(self, stage: str) -> dict[str, Any]:
        """What a stage is told besides its `TrainingSettings`."""
        settings = _TRAINING if stage in TRAINED else ()  # pruning has a schedule too, and it is another
        return {key: value for key, value in self.stages[stage].items() if key not in settings}

    @property
    def which(self) -> dict[str, bool]:
        """The flags of `layers.prunable`."""
        return {part: self.options[part] for part in ("embeddings", "pooler", "classifier")}


def read_recipe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The mapping in a YAML file, read safely: no object is built. Raises ValueError for what is no mapping."""
    source = Path(path)
    try:
        text = source.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ValueError(f"recipe: there is no file {str(source)!r}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"recipe: {str(source)!r} cannot be read: {error}") from None
    plain = safe_yaml.load(text, f"recipe: {str(source)!r}")
    if not isinstance(plain, dict):
        raise ValueError(f"recipe: {str(source)!r} must hold keys and values; got {type(plain).__name__}")
    return plain


def plan(recipe: Mapping[str, Any]) -> list[Run]:
    """Every run of a recipe, those that share stages side by side.

    Raises ValueError or TypeError naming the key, what it was and what would do; nothing is loaded yet.

    >>> [run.rate for run in plan({"task": "rte", "structure": "block_row:64", "rate": [1.79, 5]})]
    [1.79, 5.0]
    """
    known = (*SWEPT, *PLAIN, *STAGE_KEYS)
    if not isinstance(recipe, Mapping):
        raise TypeError(f"recipe must be a dict; got {type(recipe).__name__}: read_recipe(path) makes one of a file")
    for key in recipe:
        _known_key(key, known, "recipe")
    missing = [key for key in ("task", "structure", "rate") if key not in recipe]
    if missing:
        raise ValueError(f"recipe lacks {', '.join(missing)}; such as task: rte, structure: block_row:64, rate: 5")
    swept = {"model": "minilm", "method": "reweighted", "seed": 42} | {k: recipe[k] for k in SWEPT if k in recipe}
    lists = {key: value if isinstance(value, list) else [value] for key, value in swept.items()}
    for key, values in lists.items():
        if not values:
            raise ValueError(f"recipe: {key} is an empty list; give at least one value")
        if any(values.count(value) > 1 for value in values):
            raise ValueError(f"recipe: {key} names a value twice: {values!r}")
    choices = itertools.product(*(lists[key] for key in SWEPT))
    runs = [_run(recipe, **dict(zip(SWEPT, choice, strict=True))) for choice in choices]
    names = [run.name for run in runs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(
            f"recipe: two runs would have one name, {twice[0]!r}; values of a list must differ in what a name shows: "
            "the task's name, the last part of the model's, the structure, and six digits of the rate"
        )
    return runs


def _run(recipe: Mapping[str, Any], model: Any, task: Any, structure: Any, method: Any, seed: Any, rate: Any) -> Run:
    task, description = _task(task)
    if not isinstance(model, str) or not model:
        raise TypeError(f"recipe: model must be a name or a folder; got {model!r}")
    if not isinstance(structure, str):
        raise TypeError(f"recipe: structure must be text such as block_row:64; got {structure!r}")
    try:
        text = str(BlockStructure.parse(structure))
    except ValueError as error:
        raise ValueError(f"recipe: structure: {error}") from None
    if not isinstance(method, str) or method not in METHOD_MEANING:
        raise ValueError(f"recipe: method must be one of {', '.join(METHOD_MEANING)}; got {method!r}")
    rate = finite_number(rate, "recipe: rate", 1, "5 keeps one group in five, 1 keeps all")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(f"recipe: seed must be a whole number from 0 to 2**32 - 1; got {seed!r}")
    options = _options(recipe)
    if options["preset"] not in PRESETS:
        raise ValueError(f"recipe: preset must be one of {', '.join(PRESETS)}; got {options['preset']!r}")
    stages = preset(options["preset"], task)
    for stage, keys in STAGE_KEYS.items():
        given = recipe.get(stage, {})
        if not isinstance(given, Mapping):
            raise TypeError(f"recipe: {stage} must hold settings, such as {{epochs: 3}}; got {given!r}")
        for key in given:
            _known_key(key, keys, f"recipe: {stage}")
        stages[stage] |= given
    if options["embeddings"]:
        for stage in TRAINED:
            stages[stage]["freeze_embeddings"] = recipe.get(stage, {}).get("freeze_embeddings", False)
    run = Run(model, task, text, method, seed, rate, stages, options, description)
    check_stages(run)
    return run


def _options(recipe: Mapping[str, Any]) -> dict[str, Any]:
    options = {"preset": "best", "train_rows": None, "validation_rows": None, "data_seed": 0}
    options |= {"embeddings": False, "pooler": False, "classifier": False, "keep_model": True}
    options |= {key: recipe[key] for key in PLAIN if key in recipe}
    for key in ("embeddings", "pooler", "classifier", "keep_model"):
        if not isinstance(options[key], bool):
            raise TypeError(f"recipe: {key} must be true or false; got {options[key]!r}")
    for key in ("train_rows", "validation_rows", "data_seed"):
        value = options[key]
        low = 0 if key == "data_seed" else 1
        if value is None and key != "data_seed":
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise ValueError(f"recipe: {key} must be a whole number of at least {low}; got {value!r}")
    return options


def _task(task: Any) -> tuple[str, dict[str, Any] | None]:
    if isinstance(task, str):
        if task not in NAMES:
            close = difflib.get_close_matches(task, NAMES, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise ValueError(f"recipe: task must be one of {', '.join(NAMES)}, or a description; got {task!r}{hint}")
        return task, None
    if not isinstance(task, Mapping):
        raise TypeError(f"recipe: task must be a GLUE task's name or a description of your data; got {task!r}")
    from ..data.own_data import check_description

    return check_description(task), dict(task)


def _known_key(key: Any, known: tuple[str, ...], where: str) -> None:
    if key not in known:
        close = difflib.get_close_matches(str(key), known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"{where} has the unknown key {key!r}{hint} (known: {', '.join(known)})")
