"""The pages on running one's own experiments say what the code does, and every shipped recipe can be planned."""

import re
import shlex
from pathlib import Path

import pytest

from blockprune_lib import experiments
from blockprune_lib.cli import main
from blockprune_lib.data.metrics import METRIC_SETS
from blockprune_lib.data.own_data import OwnData
from blockprune_lib.data.tasks import NAMES
from blockprune_lib.experiments import plan, read_recipe, safe_yaml
from blockprune_lib.experiments.methods import METHODS
from blockprune_lib.experiments.recipe import Recipe
from blockprune_lib.experiments.stage_settings import STAGE_SETTINGS, TRAINED
from tools import experiments_tables, stage_defaults

from ..helpers.small_runs import recipe

ROOT = Path(__file__).resolve().parents[2]
PAGE = "".join((ROOT / "book" / f"{name}.md").read_text(encoding="utf-8") for name in ("experiments", "settings"))
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
CODE = set(re.findall(r"`([^`\n]+)`", PAGE))


def test_every_key_method_preset_task_and_metric_is_told():
    settings = {key for stage in STAGE_SETTINGS.values() for key in stage.model_fields}
    presets = Recipe.model_json_schema()["properties"]["preset"]["enum"]
    wanted = {*Recipe.model_fields, *settings, *METHODS, *presets, *NAMES}
    assert not wanted - CODE
    description = PAGE.partition("(experiments-data)=")[2]
    assert not [word for word in (*OwnData.model_fields, *METRIC_SETS) if not re.search(rf"\b{word}\b", description)]


def test_every_setting_in_the_tables_is_one():
    table = PAGE.partition("The three trained stages take these settings:")[2].partition("(experiments-defaults)=")[0]
    told = {
        word
        for row in re.findall(r"^\|([^|]*)\|([^|]*)\|", table, re.M)
        for word in re.findall(r"`(\w+)`", "".join(row))
    }
    known = {key for stage in STAGE_SETTINGS.values() for key in stage.model_fields} | set(STAGE_SETTINGS)
    named_in_meanings = {"max_steps", "epochs", "max_grad_norm", "penalty", "proximal", "constant", "rise", "matrix",
                         "model", "rows", "columns", "once", "gradual", "masks", "packed", "epoch", "null", "true",
                         "lam", "linear", "auto", "false", "adamw_torch_fused"}  # fmt: skip
    assert told <= known | named_in_meanings
    assert {key for stage in TRAINED for key in STAGE_SETTINGS[stage].model_fields} <= told


def test_the_defaults_of_every_stage_setting_stand_in_the_tables():
    for name, table in stage_defaults.regions().items():
        assert f"<!-- {name} -->\n{table}\n<!-- /{name} -->" in PAGE
    trained, own = stage_defaults.trained(), stage_defaults.own()
    assert "| `learning_rate` | 1e-4, 1e-3, 1e-3 | 2e-5 |" in trained
    assert "| `reweight` | `lam` | auto | 1e-4 |" in own
    assert "| `paper` | `qnli` | `max_length` 174 |" in stage_defaults.by_task()
    for stage, settings in STAGE_SETTINGS.items():
        for key in settings.model_fields:
            assert f"| `{key}` |" in (own if stage not in TRAINED else trained + own), key


def test_flags_stand_as_code_and_never_as_a_dash():
    prose = re.sub(r"```.*?```|`[^`\n]+`|<!--.*?-->|^\|[-|: ]+$", "", PAGE, flags=re.S | re.M)
    assert "--" not in prose


def test_the_page_tells_every_method_of_the_register():
    table = experiments_tables.methods()
    assert table in PAGE
    assert [row.partition("`")[2].partition("`")[0] for row in table.splitlines()[2:]] == list(METHODS)
    assert r"the same with $\alpha = 1$: group Lasso without reweighting" in table


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", PAGE, re.S))
def test_every_recipe_of_the_page_can_be_planned(text):
    told = safe_yaml.load(text, "the page")
    count = len(plan(told))
    if "method" in told:
        assert f"= {count} runs" in PAGE
    else:
        assert count == 1


@pytest.mark.parametrize("path", RECIPES, ids=[path.stem for path in RECIPES])
def test_every_shipped_recipe_can_be_planned_and_opens_with_what_it_is_for(path):
    assert plan(read_recipe(path))
    assert path.read_text().startswith("# ")
    assert f"`recipes/{path.name}`" in PAGE


def test_the_python_of_the_page_runs(material, tmp_path, monkeypatch):
    """In order, as a reader would type it; a tiny model and two steps a stage stand in for what the recipes ask."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    lines = "".join(f"is a {animal} good,{('the', 'a')[n % 2]} {animal},{('no', 'yes')[n % 2]}\n"
                    for n, animal in enumerate(["cat", "dog"] * 8))  # fmt: skip
    for split in ("train", "validation"):
        (tmp_path / "data" / f"{split}.csv").write_text(f"question,answer,verdict\n{lines}")
    run, asked = experiments.run, []

    def quick(wanted, folder):
        asked.append(plan(wanted)[0])
        own = {**wanted["task"], "name": "own"} if isinstance(wanted["task"], dict) else REVIEWS
        return run(recipe(material, task=own, rate=wanted["rate"]), folder)

    monkeypatch.setattr(experiments, "run", quick)
    found = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(block, found)
    assert [one.task for one in asked] == ["rte", "rte", "reviews"]
    assert found["record"]["final"]
    assert found["model"].config.id2label == {0: "bad", 1: "good"} or found["task"].label_names == ("bad", "good")
    answer = found["classify"]({"text": "a cat", "text_pair": "the dog"})
    assert answer["label"] in ("no", "yes")


REVIEWS = {"name": "own", "train": "data/train.csv", "validation": "data/validation.csv",
           "text": ["question", "answer"], "label": "verdict"}  # fmt: skip


def test_the_papers_recipe_never_refreshes_and_takes_the_rates_of_the_ratio_files():
    runs = plan(read_recipe(ROOT / "recipes" / "paper-bert.yaml"))
    assert {run.task for run in runs} == {"mnli", "qqp", "qnli", "sst2", "cola", "stsb", "mrpc", "rte"}
    ratios = sorted({round(1 - 1 / run.rate, 1) for run in runs})
    assert ratios == [0.3, 0.4, 0.5, 0.6]
    assert all(run.which == {"embeddings": False, "pooler": True, "classifier": True} for run in runs)
    assert all(run.extra("reweight")["refresh_every"] == "4 epochs" for run in runs)
    assert all(run.stages["reweight"]["epochs"] <= 4 for run in runs)


SHELL = [re.sub(r"\\\n\s*", "", block) for block in re.findall(r"```\n(.*?)```", PAGE, re.S)]
LINES = [line for block in SHELL for line in block.splitlines()]
COMMANDS = [line.partition(" #")[0] for line in LINES if re.match(r"blockprune (run|report|data)|torchrun", line)]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_page_is_understood(line, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    words = shlex.split(line)
    words = words[words.index("blockprune_lib.cli") + 1 :] if words[0] == "torchrun" else words[1:]
    if words[0] == "run":
        assert main([*words, "--plan"]) == 0
        assert "seed" in capsys.readouterr().out
    else:
        assert main(words) == 2  # the flags are understood; there is no such folder here
        assert "there is no folder 'runs/" in capsys.readouterr().err


def test_the_tables_say_what_the_record_says():
    def ratio(value):
        return {"value": value, "low": value - 0.01, "high": value + 0.01}

    def case(threads, added, faster):
        options = {
            "baseline": "without",
            "rounds": 20,
            "timings": {"without": {"ratio": ratio(1)}, "bf16": {"ratio": ratio(faster)}},
        }
        return {
            "threads": threads,
            "structures": [
                {
                    "structure": "row",
                    "added_share": {"penalty": ratio(added), "proximal": ratio(added), "auto": ratio(10 * added)},
                }
            ],
            "options": options,
        }

    record = {
        "hardware": {"cpu": "A Processor", "isa": "NEON"},
        "machine": "neon",
        "provenance": {"date": "2026-01-02T03:04"},
        "model": {"name": "minilm"},
        "settings": {"batch": 32, "tokens": 64},
        "cases": [case(2, 0.034, 1.5), case(1, -0.002, 0.25)],
    }
    table = experiments_tables.training_cost(record)
    assert "A Processor (NEON), 2026-01-02" in table
    assert "| `row` | +3.4 (+2.4 to +4.4) | +3.4 (+2.4 to +4.4) | +3.4 (+3.3 to +3.5) |" in table
    assert "| bf16 | 1.50 (1.49 to 1.51) | 0.25 (0.24 to 0.26) |" in table
    assert "| option | 2 threads | 1 thread |" in table
    assert "medians of 20 rounds" in table
    assert "on 2 threads of A Processor (NEON)" in table
    assert "divided by 10" in table
    assert "is told from 0" not in table
    record["cases"].reverse()
    table = experiments_tables.training_cost(record)
    assert "| `row` | -0.2 (-1.2 to +0.8) | -0.2 (-1.2 to +0.8) | -0.2 (-0.3 to -0.1) |" in table
    assert "No cost of `penalty` or `proximal` is told from 0." in table


def test_the_example_of_a_strength_shows_what_each_way_takes_from_the_groups_that_stay():
    table = experiments_tables.auto_example()
    assert table in PAGE
    assert "| `group-lasso`, every group pays | 0.1 | 0 | 0.02 | 0.10 | 0.90 |" in table
    assert "| `reweighted`, `reach: 1.5` | 0.0101 | 0 | 0.11 | 0.20 | 1.00 |" in table


def test_the_parts_of_a_study_stand_in_their_order():
    names = re.findall(r"`recipes/(study-sst2[\w-]*)\.yaml`", experiments_tables.recipes())
    assert names == ["study-sst2", "study-sst2-magnitude", "study-sst2-baselines"]


def test_the_sample_of_a_report_says_whether_two_methods_are_told_apart():
    assert re.search(
        r"reweighted less gradual, .* over seeds, .* over rows, \*\*(not )?told apart\*\*",
        experiments_tables.report_sample(),
    )


def test_what_the_page_advises_is_what_the_records_say():
    rows = experiments.read_rows(experiments_tables.ROWS)
    found = [experiments.comparisons(one, recorded=rows)
             for one in experiments.standings(experiments.read_all(experiments_tables.STUDY))]  # fmt: skip
    choice = experiments.over_tasks([one for each in found for one in each.choice if one.rate == 5], alike=False)
    assert {one.verdict for one in choice} == {"not told apart"}
    shorter = {one.verdict for each in found for one in each.ranking if "as-long" in one.method}
    assert "better" in shorter
    assert shorter <= {"better", "not told apart"}
