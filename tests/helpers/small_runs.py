"""Recipes of a few steps on a tiny model and a few rows, for the tests of experiments and of the command."""

import json

import pytest

from blockprune_lib import experiments
from blockprune_lib.data import hub
from blockprune_lib.training import stage_runner

from .tiny import write

STEPS = {"max_steps": 2, "batch_size": 8, "max_length": 16, "learning_rate": 1e-3}
WORDS = (
    "the cat sat",
    "a dog sat not",
    "the good cat",
    "bad dog",
    "a bad cat sat",
    "the dog",
    "good good",
    "not a cat",
)


def rows(count=16):
    """Rows of text with a label that is 0 or 1."""
    return [{"text": f"{WORDS[i % 8]} {WORDS[(3 * i) % 7]}", "label": i % 2} for i in range(count)]


def write_jsonl(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


@pytest.fixture(scope="session")
def material(tmp_path_factory):
    """A folder with a tiny model and a text of 16 rows."""
    folder = tmp_path_factory.mktemp("material")
    (folder / "tiny").mkdir()
    write(folder / "tiny")
    write_jsonl(folder / "text.jsonl", rows())
    return folder


@pytest.fixture
def offline(monkeypatch):
    """No GLUE folder and no network: GLUE's tasks come from the generator."""
    monkeypatch.delenv("BLOCKPRUNE_GLUE_DIR", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(hub, "_answer", None)


def recipe(material, **more):
    """A recipe that takes a second; `more` replaces keys."""
    text = str(material / "text.jsonl")
    task = {"name": "mine", "train": text, "validation": text, "text": "text", "label": "label"}
    plain = {"model": str(material / "tiny"), "task": task, "structure": "block_row:8", "rate": 2}
    stages = {stage: dict(STEPS) for stage in ("fine_tune", "reweight", "retrain")}
    stages["reweight"]["lam"] = 1e-2  # the preset's would empty every group of so small a model
    return plain | stages | more


@pytest.fixture
def trainings(monkeypatch):
    """A list that grows by the stage's name each time one is trained, and not where it is read from disk."""
    done = []
    train = stage_runner._Stage.train

    def counted(stage, *args):
        done.append(stage.name)
        return train(stage, *args)

    monkeypatch.setattr(stage_runner._Stage, "train", counted)
    return done


def one(material, folder, **more):
    """The record of the one run of a recipe."""
    (record,) = experiments.run(recipe(material, **more), folder)
    return record
