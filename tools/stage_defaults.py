"""Tables of book/settings.md: what each preset sets in every stage, and what it changes for a task."""

from __future__ import annotations

from typing import Any

from blockprune_lib.data.tasks import NAMES
from blockprune_lib.experiments.presets import preset
from blockprune_lib.experiments.recipe import Recipe
from blockprune_lib.experiments.stage_settings import STAGE_SETTINGS, TRAINED

PRESETS: tuple[str, ...] = tuple(Recipe.model_json_schema()["properties"]["preset"]["enum"])
#: Any task that no preset names.
OTHER = "my-own"
#: Settings of the stage `reweight` that `lam: auto` does not read.
NOT_WITH_AUTO = {"method", "lam_schedule", "scale_by_size"}


def regions() -> dict[str, str]:
    """Each generated region."""
    return {"trained-defaults": trained(), "stage-defaults": own(), "task-defaults": by_task()}


def settings_of(name: str, task: str = OTHER) -> dict[str, dict[str, Any]]:
    """{stage: {setting: value}} of a preset, every setting that a recipe may give."""
    return {
        stage: model.model_validate(preset(name, task).get(stage, {})).model_dump()
        for stage, model in STAGE_SETTINGS.items()
    }


def trained() -> str:
    """The settings that all three trained stages have: one value, or one for each stage."""
    found = {name: settings_of(name) for name in PRESETS}
    lines = _head("setting")
    for name in STAGE_SETTINGS[TRAINED[0]].model_fields:
        cells = [_of_stages(found[preset_name], name) for preset_name in PRESETS]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def own() -> str:
    """The settings that only some stages have."""
    found = {name: settings_of(name) for name in PRESETS}
    common = set(STAGE_SETTINGS[TRAINED[0]].model_fields)
    lines = _head("stage", "setting")
    for stage, model in STAGE_SETTINGS.items():
        for name in model.model_fields:
            if name not in common or stage not in TRAINED:
                cells = [_read(found[preset_name], stage, name) for preset_name in PRESETS]
                lines.append(f"| `{stage}` | `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def by_task() -> str:
    """What a preset sets otherwise for a GLUE task: again one value, or one for each of the trained stages."""
    lines = ["| preset | task | set otherwise |", "|---|---|---|"]
    for name in PRESETS:
        usual, tasks = settings_of(name), dict[str, list[str]]()
        for task in NAMES:
            here = settings_of(name, task)
            changed = [key for key in here["fine_tune"] if any(here[at][key] != usual[at][key] for at in TRAINED)]
            if changed:
                told = "; ".join(f"`{key}` {_of_stages(here, key)}" for key in changed)
                tasks.setdefault(told, []).append(f"`{task}`")
        lines += [f"| `{name}` | {', '.join(those)} | {told} |" for told, those in tasks.items()]
    return "\n".join(lines)


def _of_stages(settings: dict[str, dict[str, Any]], key: str) -> str:
    values = [_said(settings[stage][key]) for stage in TRAINED]
    return values[0] if len(set(values)) == 1 else ", ".join(values)


def _head(*first: str) -> list[str]:
    heads = [*first, *(f"`{name}`" for name in PRESETS)]
    return [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]


def _read(settings: dict[str, dict[str, Any]], stage: str, name: str) -> str:
    """A value, or a dash where `lam: auto` does not read it."""
    return "–" if settings["reweight"]["lam"] == "auto" and name in NOT_WITH_AUTO else _said(settings[stage][name])


def _said(value: Any) -> str:
    """A value as a recipe writes it.

    >>> _said(1e-4), _said(0.001), _said(0.05), _said(1.5), _said(None)
    ('1e-4', '1e-3', '0.05', '1.5', 'null')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        text = f"{value:.0e}" if 0 < value < 0.01 and float(f"{value:.0e}") == value else f"{value:g}"
        return text.replace("e-0", "e-")
    return str(value)
