"""`blockprune run`, `report` and `data` on the command line: what they print, and how they end."""

import json

import pytest
import yaml

from blockprune_lib.cli import main
from blockprune_lib.experiments import SCHEMA

from ..helpers.small_runs import STEPS, recipe

ROWS = ("--set", "task=rte", "--set", "structure=row", "--set", "rate=2")


@pytest.fixture
def file(material, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe(material)))
    return path


def test_plan_prints_the_runs_and_does_nothing(file, tmp_path, capsys):
    assert main(["run", str(file), "--set", "rate=[2, 4]", "--set", "method=magnitude", "--plan"]) == 0
    name = "mine_tiny_block_row-8_magnitude_rate{}_seed42"
    assert capsys.readouterr().out.splitlines() == [name.format(2), name.format(4)]
    assert list(tmp_path.iterdir()) == [file]


def test_plan_and_hours_are_of_the_shard(file, capsys):
    assert main(["run", str(file), "--set", "rate=[2, 4, 5]", "--shard", "2/3", "--plan"]) == 0
    assert capsys.readouterr().out == "mine_tiny_block_row-8_reweighted_rate4_seed42\n"
    assert main(["run", str(file), "--shard", "2/1", "--plan"]) == 2


def test_run_report_and_plot(file, tmp_path, capsys):
    folder = str(tmp_path / "runs")
    assert main(["run", str(file), "--folder", folder]) == 0
    printed = capsys.readouterr()
    assert "block_row:8" in printed.out
    assert [line.rpartition(": ")[2] for line in printed.err.splitlines()[:3]] == ["fine-tune", "reweight", "retrain"]
    assert main(["run", str(file), "--folder", folder, "--json", "--quiet"]) == 0
    printed_again = capsys.readouterr()
    (record,) = json.loads(printed_again.out)
    assert record["run"]["rate"] == 2
    assert printed_again.err == ""
    assert main(["report", folder]) == 0
    assert capsys.readouterr().out == printed.out
    assert main(["report", folder, "--json", "--plot", str(tmp_path / "rates.svg")]) == 0
    (line,) = json.loads(capsys.readouterr().out)
    assert line["scores"] == [record["final"]["accuracy"]]
    assert (tmp_path / "rates.svg").read_text().startswith("<?xml")


def test_settings_alone_make_a_recipe(material, tmp_path, capsys):
    plain = recipe(material)
    flags = [flag for key, value in plain.items() for flag in ("--set", f"{key}={json.dumps(value)}")]
    flags += ["--set", "retrain.max_steps=1", "--set", "reweight.lam=2e-5"]
    assert main(["run", *flags, "--folder", str(tmp_path / "runs"), "--json", "--quiet"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["run"]["stages"]["retrain"]["max_steps"] == 1
    assert record["run"]["stages"]["retrain"]["batch_size"] == STEPS["batch_size"]
    assert record["run"]["stages"]["reweight"]["lam"] == 2e-5


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ([], "RECIPE or --set must give task, structure and rate"),
        (["none.yaml"], "there is no file 'none.yaml'"),
        (["--set", "rate"], "--set must be KEY=VALUE; got 'rate': --set rate=5 would do"),
        (["--set", "=5"], "--set must be KEY=VALUE"),
        (["--set", "rate=[5"], "--set rate cannot be read"),
        (["--set", "rate=5", "--set", "rate.deep=1"], "rate must hold keys; got 5"),
        (["--set", "rates=5"], "there is no 'rates'; did you mean 'rate'?"),
        (["--set", "task=rte"], "recipe lacks structure, rate"),
        ([*ROWS, "--folder", __file__], f"--folder must be a folder, or a place for one; got {__file__!r}"),
        (
            [*ROWS, "--folder", "runs", "--processes", "0"],
            "processes must be a whole number of at least 1; got 0: 1 would",
        ),
        (
            [*ROWS, "--folder", "runs", "--set", "model=/none"],
            "recipe: model: there is no folder '/none'; a model folder",
        ),
        (
            [*ROWS, "--set", "reweight.max_steps=9", "--set", "retrain.max_steps=-1", "--plan"],
            "max_steps must be given to "
            "all of reweight and retrain, or to none (-1); got reweight 9, retrain -1: retrain.max_steps=9 would do",
        ),
        (["--set", "task=rte", "--set", "structure=row", "--set", "rate=2"], "--folder must say where the run is kept"),
    ],
)
def test_what_cannot_be_meant_ends_with_a_sentence(flags, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", *flags]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error


def test_a_shard_that_is_none_trains_nothing(file, tmp_path, capsys):
    assert main(["run", str(file), "--folder", str(tmp_path / "runs"), "--shard", "3/2"]) == 2
    assert "shard must be i/n" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_an_anchor_is_changed_in_one_place_only(file, tmp_path, capsys):
    text = file.read_text() + "\n"
    plain = yaml.safe_load(text)
    for stage in ("fine_tune", "reweight", "retrain"):
        del plain[stage]
    plain["method"] = "magnitude"
    lines = yaml.safe_dump(plain) + f"fine_tune: &all {json.dumps(STEPS)}\nreweight: *all\nretrain: *all\n"
    file.write_text(lines)
    flags = ["--set", "retrain.max_steps=1", "--folder", str(tmp_path / "runs"), "--json", "--quiet"]
    assert main(["run", str(file), *flags]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert [stage["steps"] for stage in record["stages"]] == [2, 2, 1]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ([], "FOLDER must be one"),
        (["nowhere"], "there is no folder 'nowhere': the folder that"),
        (["."], "holds no record"),
        (["recipe.yaml"], "'recipe.yaml' must be a record; got another file: the folder that `blockprune run"),
    ],
)
def test_a_report_of_nothing(flags, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text("task: rte")
    assert main(["report", *flags]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert "delete" not in said


def test_the_schema_prints(capsys):
    assert main(["report", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == SCHEMA


@pytest.mark.usefixtures("offline")
def test_data_says_where_the_text_comes_from(capsys):
    assert main(["data", "rte", "cola", "--json"]) == 0
    rte, cola = json.loads(capsys.readouterr().out)
    assert (rte["name"], cola["name"]) == ("rte", "cola")
    assert rte["source"] == cola["source"] == "built-in"
    assert main(["data", "rte"]) == 0
    assert "sentence1, sentence2" in capsys.readouterr().out
    assert main(["data"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert main(["data", "imdb"]) == 2
    assert "imdb" in capsys.readouterr().err
