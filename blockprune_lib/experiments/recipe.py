"""A recipe: what to run, as a YAML file or a dict, checked before anything is trained.

    {task: rte, structure: [block_row:64, tile:32x32], rate: [1.79, 5], preset: best, retrain: {epochs: 10}}

Keys with a list are swept: every combination is one `Run`. Settings of a stage override the preset's. `parts` is a list
of recipes that say what differs from the whole: they are run in that order, and what two of them ask for is run once.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from .._common.checks import one_of
from .._common.settings import Number, Positive, Settings, Whole, unknown_name
from ..data.own_data import check_description
from ..data.tasks import NAMES
from ..pruning.structure import BlockStructure
from . import safe_yaml
from .methods import METHODS
from .presets import preset
from .run_spec import Run
from .stage_settings import AUTO, STAGE_SETTINGS, TRAINED, Prune, Retrain, Reweight, Trained

#: The keys that may have a list; the first change least often, so that neighbouring runs share their stages.
SWEPT = ("model", "task", "structure", "layers", "method", "seed", "rate")
#: Options that came later: they are told of a run only where they are not at their defaults.
_LATER = ("layers", "held_out", "variant")


def _task(task: Any) -> Any:
    if isinstance(task, str):
        return one_of(task, "task", NAMES, "a description of your own data would do too")
    if not isinstance(task, Mapping):
        raise TypeError(f"task must be a GLUE task's name or a description of your data; got {task!r}: 'rte' would do")
    return task


class Recipe(Settings):
    """A recipe without lists, which is one run; in a file each key of `SWEPT` may hold a list of such values."""

    task: Annotated[str | dict[str, Any], BeforeValidator(_task)]
    structure: Annotated[str, AfterValidator(lambda s: str(BlockStructure.parse(s))), Field(examples=["block_row:64"])]
    rate: Number = Field(ge=1, examples=[5])
    model: str = Field("minilm", min_length=1, examples=["minilm"])
    method: Annotated[str, BeforeValidator(lambda name: one_of(name, "method", METHODS))] = "reweighted"
    layers: Positive | None = None
    seed: Whole = Field(42, ge=0, le=2**32 - 1, examples=[42])
    preset: Literal["best", "paper"] = "best"
    train_rows: Positive | None = None
    validation_rows: Positive | None = None
    data_seed: Whole = Field(0, ge=0)
    variant: str | None = Field(None, pattern=r"^[\w.\-]+$", examples=["no-teacher"])
    held_out: Number = Field(0.0, ge=0, lt=1, examples=[0.1])
    embeddings: bool = False
    pooler: bool = False
    classifier: bool = False
    keep_model: bool = True
    fine_tune: Trained = Field(default_factory=Trained)
    reweight: Reweight = Field(default_factory=Reweight)
    prune: Prune = Field(default_factory=Prune)
    retrain: Retrain = Field(default_factory=Retrain)


#: The keys that every run of a recipe shares, stages aside.
OPTIONS = tuple(name for name in Recipe.model_fields if name not in (*SWEPT, *STAGE_SETTINGS))


def read_recipe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The mapping in a YAML file, read safely: no object is built. Raises ValueError for a file that holds none."""
    source = Path(path)
    try:
        plain = safe_yaml.load(source.read_text(encoding="utf-8"), f"recipe: {str(source)!r}")
    except FileNotFoundError:
        raise ValueError(f"recipe: there is no file {str(source)!r}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"recipe: {str(source)!r} cannot be read: {error}") from None
    if not isinstance(plain, dict):
        raise ValueError(f"recipe: {str(source)!r} must hold keys and values; got {type(plain).__name__}")
    return plain


def plan(recipe: Mapping[str, Any]) -> list[Run]:
    """Every run of a recipe, those that share stages side by side.

    Raises ValueError or TypeError naming the key, what it was and what would do; nothing is loaded yet.

    >>> [run.rate for run in plan({"task": "rte", "structure": "block_row:64", "rate": [1.79, 5]})]
    [1.79, 5.0]
    """
    if not isinstance(recipe, Mapping):
        raise TypeError(f"recipe must be a dict; got {type(recipe).__name__}: read_recipe(path) makes one of a file")
    if "parts" in recipe:
        return _plan_parts(recipe)
    if unknown := [str(key) for key in recipe if key not in Recipe.model_fields]:
        raise ValueError(unknown_name(unknown[0], list(Recipe.model_fields), "recipe"))
    if missing := [key for key, field in Recipe.model_fields.items() if field.is_required() and key not in recipe]:
        raise ValueError(f"recipe lacks {', '.join(missing)}; such as task: rte, structure: block_row:64, rate: 5")
    lists = {key: recipe[key] if isinstance(recipe[key], list) else [recipe[key]] for key in SWEPT if key in recipe}
    for key, values in lists.items():
        if not values:
            raise ValueError(f"recipe: {key} is an empty list; give at least one value")
        if any(values.count(value) > 1 for value in values):
            raise ValueError(f"recipe: {key} names a value twice: {values!r}")
    choices = (dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values()))
    runs = [_run(Recipe.of({**recipe, **choice}, "recipe")) for choice in choices]
    names = [run.name for run in runs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"recipe: two runs would have one name, {twice[0]!r}; values must differ in what a name shows")
    return runs


def _plan_parts(recipe: Mapping[str, Any]) -> list[Run]:
    """The runs of every part of a recipe, in order, each once."""
    common = {key: value for key, value in recipe.items() if key != "parts"}
    parts = recipe["parts"]
    if not isinstance(parts, list) or not parts or not all(isinstance(part, Mapping) for part in parts):
        raise TypeError(f"recipe: parts must be a list of keys and values; got {parts!r:.100}: [{{seed: 1}}] would do")
    runs: dict[str, Run] = {}
    for part in parts:
        if "parts" in part:
            raise ValueError("recipe: a part cannot have parts")
        stages = {key: _over(common.get(key, {}), part[key]) for key in STAGE_SETTINGS if key in part}
        for run in plan({**common, **part, **stages}):
            if runs.setdefault(run.name, run) != run:
                raise ValueError(f"recipe: two parts have different runs by one name, {run.name!r}")
    return list(runs.values())


def _over(common: Any, part: Any) -> Any:
    """A stage's settings in a part, over those of the whole; where one is no mapping, that, which is then refused."""
    if not isinstance(common, Mapping):
        return common
    return {**common, **part} if isinstance(part, Mapping) else part


def _run(one: Recipe) -> Run:
    """The run of a recipe without lists: the preset's settings, and over them the recipe's."""
    task, description = (one.task, None) if isinstance(one.task, str) else (check_description(one.task), dict(one.task))
    stages = preset(one.preset, task, float(one.rate), one.layers is None, one.method)
    for key in STAGE_SETTINGS:
        stages[key] |= getattr(one, key).model_dump(exclude_unset=True)
    if one.embeddings:
        if any(getattr(one, key).freeze_embeddings for key in TRAINED):
            raise ValueError("recipe: embeddings: true prunes what freeze_embeddings leaves as it is; choose one")
        for key in TRAINED:
            stages[key]["freeze_embeddings"] = False
    run = Run(
        model=one.model, task=task, structure=one.structure, method=one.method, seed=one.seed, rate=float(one.rate),
        stages=stages, options=_options(one), description=description,
    )  # fmt: skip
    every = run.stages["reweight"].get("refresh_every")
    if run.stages["reweight"].get("lam") == AUTO and isinstance(every, str):
        raise ValueError(
            f"recipe: reweight.refresh_every must be steps or null with lam: auto; got {every!r}: 10 would do"
        )
    for stage in run.method_stages:
        if stage.key in TRAINED:
            run.budget(stage)  # refuses steps and epochs that cannot be added
    return run


def _options(one: Recipe) -> dict[str, Any]:
    told = one.model_dump(include={*OPTIONS, *_LATER})
    return {key: value for key, value in told.items() if key not in _LATER or value != Recipe.model_fields[key].default}
