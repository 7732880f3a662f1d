"""Sweeps: every run once, whoever does it; a folder belongs to its recipe; what fails loses nothing."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockprune_lib import experiments
from blockprune_lib._common import files
from blockprune_lib.experiments.recipe import plan
from blockprune_lib.experiments.sweep import part_of, threads_each
from blockprune_lib.machine import cpu

from ..helpers.small_runs import one, recipe

DECIDED = ("run", "name", "dense", "final", "densities", "compression", "data")


def results(found):
    return [{key: record[key] for key in DECIDED} for record in found]


@given(st.integers(0, 40), st.integers(1, 12))
def test_the_parts_hold_every_run_once_and_are_of_a_size(count, parts):
    runs = list(range(count))
    dealt = [part_of(runs, f"{part}/{parts}") for part in range(1, parts + 1)]
    assert [one for part in dealt for one in part] == runs
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1


@pytest.mark.parametrize("shard", ["0/4", "5/4", "1", "1/0", "a/b", "-1/4", "1/4/2", "", " 1/4"])
def test_a_shard_that_is_none(shard):
    with pytest.raises(ValueError, match=r"shard must be i/n with i from 1 to n; got .*: '1/4' would do"):
        part_of([], shard)


def test_two_ranks_of_torchrun_are_one_worker(material, tmp_path):
    """Both used to take the lock of a stage: one waited for it, and the other, which had it, at a barrier."""
    file, root = tmp_path / "recipe.yaml", Path(__file__).resolve().parents[2]
    file.write_text(json.dumps(recipe(material)))  # JSON is YAML
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    command += ["blockprune_lib.cli", "run", str(file), "--folder", str(tmp_path / "runs")]
    variables = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    (record,) = (json.loads(path.read_text()) for path in (tmp_path / "runs" / "records").glob("*.json"))
    assert {stage["processes"] for stage in record["stages"]} == {2}


def test_shards_into_one_folder_make_up_the_whole(material, tmp_path, trainings):
    swept = recipe(material, rate=[2, 4, 8])
    first = experiments.run(swept, tmp_path, shard="1/2")
    second = experiments.run(swept, tmp_path, shard="2/2")
    assert (len(first), len(second)) == (1, 2)
    assert sorted(trainings) == ["fine-tune", "retrain", "retrain", "retrain", "reweight"]
    trainings.clear()
    assert experiments.run(swept, tmp_path) == [*first, *second]
    assert trainings == []


def test_two_processes_do_what_one_does(material, tmp_path):
    swept = recipe(material, rate=[2, 4])
    said = []
    found = experiments.run(swept, tmp_path / "two", processes=2, say=said.append)
    assert results(found) == results(experiments.run(swept, tmp_path / "one"))
    assert [line.partition(":")[0] for line in said] == ["1 of 2", "2 of 2"]


@pytest.mark.parametrize(
    ("quota", "processes", "threads"), [(None, 2, 4), (3.0, 1, 3), (3.0, 2, 1), (0.5, 4, 1), (16.0, 2, 4)]
)
def test_processes_share_the_cores_that_affinity_and_quota_leave(quota, processes, threads, monkeypatch):
    monkeypatch.setattr(cpu.os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(cpu, "cpu_quota", lambda root: quota)
    assert threads_each(processes) == threads


@pytest.mark.parametrize("processes", [0, -1, 1.5, True])
def test_processes_must_be_a_number(processes, material, tmp_path):
    with pytest.raises((TypeError, ValueError), match="processes must be a whole number of at least 1"):
        experiments.run(recipe(material), tmp_path / "runs", processes=processes)
    assert not (tmp_path / "runs").exists()


def test_a_folder_belongs_to_its_recipe(material, tmp_path):
    first = one(material, tmp_path)
    card = (tmp_path / "recipe.json").read_bytes()
    other = recipe(material, rate=4)
    with pytest.raises(ValueError, match=r"holds another run \(--extend adds to it\).*rate"):
        experiments.run(other, tmp_path)
    assert (tmp_path / "recipe.json").read_bytes() == card
    (second,) = experiments.run(other, tmp_path, extend=True)
    assert {record["run"]["rate"] for record in experiments.read_all(tmp_path)} == {2.0, 4.0}
    assert first["dense"] == second["dense"]


@pytest.mark.parametrize("extend", [False, True])
def test_a_folder_of_something_else_is_left_alone(extend, material, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match=r"thesis\.txt"):
        experiments.run(recipe(material), tmp_path, extend=extend)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_folder_in_which_nothing_was_done_takes_another_recipe(material, tmp_path):
    """As one that was refused by the model leaves it, on any path through the code."""
    for wrong in ({"structure": "block_row:9999"}, {"model": str(tmp_path / "none")}):
        with pytest.raises(ValueError, match=r"9999|model: there is no folder"):
            experiments.run(recipe(material, **wrong), tmp_path / "runs")
    record = one(material, tmp_path / "runs")
    assert record["run"]["structure"] == "block_row:8"
    with pytest.raises(ValueError, match="holds another run"):
        experiments.run(recipe(material, rate=4), tmp_path / "runs")


def test_what_cannot_be_a_folder_is_refused_with_what_would_do(material, tmp_path):
    (tmp_path / "runs").write_text("")
    for folder in (tmp_path / "runs", tmp_path / "runs" / "deep" / "er"):
        with pytest.raises(
            ValueError, match=r"folder must be a folder, or a place for one.*is a file: runs/mine would"
        ):
            experiments.run(recipe(material), folder)
    with pytest.raises(ValueError, match=r"'/proc/x' cannot be made \(No such file or directory\): runs/mine would"):
        experiments.run(recipe(material), "/proc/x/y")


def test_a_recipe_that_cannot_be_planned_makes_no_folder(material, tmp_path):
    with pytest.raises(ValueError, match="rate must be"):
        experiments.run(recipe(material, rate=0.5), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("after", [3, 8])
def test_a_disk_that_fills_up_loses_nothing(after, material, tmp_path, monkeypatch, trainings):
    written = []
    replace = os.replace

    def fills(source, target):
        written.append(target)
        if len(written) > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", fills)
    with pytest.raises(OSError, match="No space left"):
        one(material, tmp_path)
    monkeypatch.setattr(files.os, "replace", replace)
    assert not list((tmp_path / "records").glob("*"))
    for path in tmp_path.rglob("*.json"):
        json.loads(path.read_text())
    finished = len(trainings)
    record = one(material, tmp_path)
    assert record["final"] == one(material, tmp_path)["final"]
    assert len(trainings) - finished <= 3
    assert len(plan(recipe(material))) == len(list((tmp_path / "records").iterdir()))
