"""One run, every method, to the end on a tiny model: what it leaves, what it shares, and what it refuses."""

import copy
import hashlib
import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import blockprune_lib as bp
from blockprune_lib import experiments, models
from blockprune_lib.data import own_data
from blockprune_lib.experiments import records, report, runner
from blockprune_lib.experiments.actions import ACTIONS, TEACHING, RunState
from blockprune_lib.experiments.methods import FINE_TUNE, METHODS, PRUNE, Method, Stage
from blockprune_lib.experiments.recipe import plan
from blockprune_lib.nn.model_size import compression
from blockprune_lib.training.evaluation import evaluate
from blockprune_lib.training.report import StageReport

from ..helpers.small_runs import STEPS, one, recipe, rows, write_jsonl

SECOND = ("fine-tune", "reweight", "retrain")
STAGES = {
    "reweighted": SECOND,
    "no-refresh": SECOND,
    "group-lasso": SECOND,
    "magnitude": ("fine-tune", "fine-tune", "retrain"),
    "gradual": ("fine-tune", "retrain"),
    "sensitivity": ("fine-tune", "retrain"),
    "movement": ("fine-tune", "retrain"),
    "one-shot": ("fine-tune",),
    "dense": ("fine-tune", "fine-tune"),
    "bag-of-words": (),
}
UNPRUNED = ("dense", "bag-of-words")


@pytest.fixture(scope="module")
def every_method(material, tmp_path_factory):
    """The records of every method, run into one folder, and the folder."""
    folder = tmp_path_factory.mktemp("methods")
    found = experiments.run(recipe(material, method=list(METHODS), seed=3), folder)
    return {record["run"]["method"]: record for record in found}, folder


@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs_to_the_end(method, every_method):
    found, folder = every_method
    record = found[method]
    records.RunRecord.of(record)
    assert tuple(stage["stage"] for stage in record["stages"]) == STAGES[method]
    assert record == records.read(folder / "records" / f"{record['name']}.json")
    if STAGES[method]:
        assert record["dense"] == found["one-shot"]["dense"], "all share the fine-tuned model"
    assert record["data"]["fingerprint"]
    assert record["model"]["sha256"]
    for density in record["densities"].values() if method != "sensitivity" else ():  # that ranks all matrices together
        assert density == pytest.approx(0.5)
    assert bool(record["densities"]) == (method not in UNPRUNED)
    assert record["compression"]["rate_pruned"] == pytest.approx(1.0 if method in UNPRUNED else 2.0)
    assert list(record["precisions"]) == ["bfloat16", "int8"][: len(STAGES[method]) and 1 + (method in UNPRUNED)]


@pytest.mark.parametrize("method", [name for name in METHODS if STAGES[name]])
def test_the_kept_model_has_the_recorded_zeros_and_scores(method, every_method, material):
    found, folder = every_method
    record = found[method]
    model = bp.load(folder / "models" / record["name"])
    tokenizer = models.load(recipe(material)["model"]).tokenizer
    assert json.loads(json.dumps(compression(model).to_dict())) == record["compression"]
    task = own_data.load(recipe(material)["task"], None, None, 0)
    right = [int(sign) == label for sign, label in zip(record["predictions"], task.validation["label"], strict=True)]
    assert np.mean(right) == pytest.approx(record["final"]["accuracy"])
    assert evaluate(model, tokenizer, task, max_length=16) == pytest.approx(record["final"], abs=1e-5)


def test_names_of_labels_are_in_the_record_and_in_what_is_served(material, tmp_path):
    named = [row | {"label": ("sad", "happy")[row["label"]]} for row in rows()]
    text = write_jsonl(tmp_path / "named.jsonl", named)
    task = recipe(material)["task"] | {"train": text, "validation": text}
    said = []
    (record,) = experiments.run(recipe(material, task=task, method="one-shot"), tmp_path / "runs", say=said.append)
    assert record["data"]["labels"] == ["happy", "sad"]
    served = bp.load(tmp_path / "runs" / "models" / record["name"])
    assert served.config.id2label == {0: "happy", 1: "sad"}
    assert not any("Text:" in line for line in said)


def test_a_regression_is_said_aloud(material, tmp_path):
    floats = [row | {"label": float(row["label"])} for row in rows()]
    text = write_jsonl(tmp_path / "floats.jsonl", floats)
    task = recipe(material)["task"] | {"train": text, "validation": text}
    said = []
    with pytest.warns(UserWarning, match="for classes write them without"):
        (record,) = experiments.run(recipe(material, task=task, method="one-shot"), tmp_path / "runs", say=said.append)
    assert record["metric"] == "mean"
    assert any("a regression" in line and "metric accuracy" in line for line in said)
    task |= {"metric": "accuracy"}
    (record,) = experiments.run(recipe(material, task=task, method="one-shot"), tmp_path / "classes")
    assert (record["metric"], record["data"]["labels"]) == ("accuracy", ["0", "1"])


def test_methods_get_the_same_number_of_steps(every_method):
    found, _ = every_method
    totals = {method: sum(stage["steps"] for stage in record["stages"]) for method, record in found.items()}
    assert {total for method, total in totals.items() if len(STAGES[method]) > 1} == {6}
    assert (totals["one-shot"], totals["bag-of-words"]) == (2, 0)


def test_the_penalty_is_what_the_method_says(every_method):
    found, _ = every_method
    penalised = [name for name, method in METHODS.items() if any("rew" in s.action for s in method.stages)]
    assert penalised == ["reweighted", "no-refresh", "group-lasso"]
    for method in penalised:
        second = found[method]["stages"][1]
        assert second["near_zero"] is not None
        assert any("penalty" in key for entry in second["history"] for key in entry), method
    assert not any("penalty" in key for entry in found["magnitude"]["stages"][1]["history"] for key in entry)


def test_a_gpu_that_trained_is_named(every_method, monkeypatch):
    found, _ = every_method
    assert all("accelerator" not in record["hardware"] for record in found.values())
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "a GPU")
    reports = [StageReport.of(stage, "stage") for stage in found["gradual"]["stages"]]
    assert runner._accelerator(reports) == {}
    trained = [report.model_copy(update={"device": "cuda"}) for report in reports]
    assert runner._accelerator(trained) == {"accelerator": "a GPU"}


def test_a_new_baseline_is_one_entry_and_what_its_stage_does(material, tmp_path, monkeypatch):
    def keep_layers(state, stage):
        kept = stage.changes["layers"]
        state.model.bert.encoder.layer = state.model.bert.encoder.layer[:kept]
        state.model.config.num_hidden_layers = kept
        state.changed(stage)

    def method(name, kept):
        stages = (FINE_TUNE, Stage("prune", "keep_layers", {"layers": kept}), Stage("retrain", "fine_tune"))
        return Method(name, stages, "fine-tune, keep the first layers, retrain")

    monkeypatch.setitem(ACTIONS, "keep_layers", keep_layers)
    for name, kept in (("one-layer", 1), ("both-layers", 2)):
        monkeypatch.setitem(METHODS, name, method(name, kept))
    found = experiments.run(recipe(material, method=["one-layer", "both-layers"]), tmp_path)
    assert [tuple(stage["stage"] for stage in record["stages"]) for record in found] == [("fine-tune", "fine-tune")] * 2
    assert [len(bp.load(tmp_path / "models" / record["name"]).bert.encoder.layer) for record in found] == [1, 2]
    assert sum(path.is_dir() for path in (tmp_path / "stages").glob("*-retrain-*")) == 2
    assert report.lines(found)


def test_auto_layers_and_a_held_out_part_reach_the_result(material, tmp_path):
    auto = {"reweight": {**STEPS, "lam": "auto", "refresh_every": 1}, "fine_tune": {**STEPS, "max_steps": 4}}
    found = experiments.run(
        recipe(material, method=["reweighted", "group-lasso", "no-refresh"], **auto), tmp_path / "a"
    )
    for record in found:
        assert [stage["stage"] for stage in record["stages"]] == ["fine-tune", "retrain"]
        assert record["stages"][1]["steps"] == 4
        assert record["stages"][1]["refreshes"]
        assert all(density == pytest.approx(0.5) for density in record["densities"].values())
    half = recipe(material, layers=1, method=["dense", "gradual"], held_out=0.25)
    for record in experiments.run(half, tmp_path / "b"):
        assert "-1-layers" in record["name"]
        assert record["data"]["train_rows"], record["data"]["validation_rows"] == (12, 4)
        blocks = 1 if record["run"]["method"] == "dense" else 2
        assert record["compression"]["rate_pruned"] == pytest.approx(2 * blocks)
        assert record["compression"]["rate_parameters"] > 1
        assert len(bp.load(tmp_path / "b" / "models" / record["name"]).bert.encoder.layer) == 1


def test_a_collapsed_run_says_so(material, tmp_path, capsys):
    text = write_jsonl(tmp_path / "one-label.jsonl", [{"text": row["text"], "label": 1} for row in rows()])
    task = recipe(material)["task"] | {"validation": text, "train": str(material / "text.jsonl")}
    said = []
    (record,) = experiments.run(
        recipe(material, task=task, rate=20, structure="row"), tmp_path / "runs", say=said.append
    )
    collapsed = record["final"]["accuracy"] <= record["majority"]["accuracy"]
    assert any("collapsed:" in flag for flag in record["flags"]) == collapsed
    assert sum("WARNING" in line for line in said) == len(record["flags"])


def test_methods_with_different_actions_share_no_later_stage(material, tmp_path, monkeypatch):
    for action in ("one_thing", "another_thing"):  # as careless as can be: neither says what it did
        monkeypatch.setitem(ACTIONS, action, lambda state, stage: state.changed(stage))
    between = {
        "none": (), "one": (Stage("prune", "one_thing"),), "another": (Stage("prune", "another_thing"),),
        "changed": (Stage("prune", "one_thing", {"layers": 1}),), "pruned": (PRUNE,),
    }  # fmt: skip
    for name, stages in between.items():
        path = (FINE_TUNE, *stages, Stage("retrain", "fine_tune"))
        monkeypatch.setitem(METHODS, name, Method(name, path, "fine-tune, something, train on"))
    experiments.run(recipe(material, method=list(between), rate=[2, 4]), tmp_path)
    folders = [path.name.rsplit("-", 1)[0] for path in (tmp_path / "stages").iterdir() if path.is_dir()]
    at_two_rates = 1  # the digest of any stage after pruning depends on its rate
    assert (folders.count("mine-fine-tune"), folders.count("mine-retrain")) == (1, len(between) + at_two_rates)


@pytest.mark.parametrize("method", METHODS)
def test_folders_keep_the_names_that_they_had_without_actions(method, every_method, material):
    found, folder = every_method
    record = found[method]
    (run,) = plan(recipe(material, method=method, seed=3))
    pruning = [run.structure, run.rate, run.extra("prune"), run.extra("retrain"), run.which]
    identity = [run.model, record["model"]["sha256"], record["data"]["fingerprint"], run.seed]
    for stage in (stage for stage in run.method_stages if stage.key != "prune" and STAGES[method]):
        identity += [stage.key, run.budget(stage).identity()]
        if stage.action == "train_reweighted":
            identity += [run.structure, {**run.extra("reweight"), **stage.changes}, run.which]
        elif stage.action == "fine_tune" and stage != FINE_TUNE:
            taught = {name: value for name, value in run.extra(stage.key).items() if name in TEACHING}
            identity += ["no penalty", taught]
        elif stage.key == "retrain":
            identity += [*stage.changes.values(), *pruning]
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
        assert (folder / "stages" / f"mine-{stage.key.replace('_', '-')}-{digest}").is_dir()


def test_a_record_names_no_path_of_this_machine(every_method):
    found, folder = every_method
    text = json.dumps([record["stages"] for record in found.values()])
    assert str(folder) not in text
    assert str(Path.home()) not in text


def test_runs_that_begin_alike_share_their_stages(material, tmp_path, trainings):
    experiments.run(recipe(material, rate=[2, 4], method=["reweighted", "one-shot"]), tmp_path)
    assert sorted(trainings) == ["fine-tune", "retrain", "retrain", "reweight"]


def test_a_finished_run_is_read_and_never_done_again(material, tmp_path, trainings):
    first = one(material, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    trainings.clear()
    assert one(material, tmp_path) == first
    assert trainings == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_run_without_its_record_is_made_from_its_stages(material, tmp_path, trainings):
    first = one(material, tmp_path)
    (tmp_path / "records" / f"{first['name']}.json").unlink()
    trainings.clear()
    again = one(material, tmp_path)
    assert trainings == []
    assert [again[key] for key in ("dense", "final", "densities", "compression")] == [
        first[key] for key in ("dense", "final", "densities", "compression")
    ]


def test_the_same_recipe_elsewhere_gives_the_same_result(material, tmp_path):
    first, second = one(material, tmp_path / "a"), one(material, tmp_path / "b")
    for key in ("run", "dense", "final", "densities", "compression", "data", "name"):
        assert first[key] == second[key]


def test_another_text_under_the_same_name_trains_anew(material, tmp_path, trainings):
    shutil.copytree(material, tmp_path / "material")
    one(tmp_path / "material", tmp_path / "runs")
    for path in (tmp_path / "runs" / "records").iterdir():
        path.unlink()
    write_jsonl(tmp_path / "material" / "text.jsonl", rows(24))
    trainings.clear()
    one(tmp_path / "material", tmp_path / "runs")
    assert trainings == ["fine-tune", "reweight", "retrain"]


@pytest.mark.parametrize(
    "more",
    [
        {"prune": {"schedule": "gradual", "begin": 0.0, "end": 1.0}},
        {"prune": {"scope": "model"}},
        {"prune": {"balanced": "rows"}, "structure": "block_column:4"},
        {"retrain": {"support": "packed", "max_steps": 2, "max_length": 16}},
        {"retrain": {"distil": 0.5, "temperature": 3.0, "max_steps": 2, "max_length": 16}},
        {"embeddings": True, "pooler": True, "classifier": True},
        {"keep_model": False},
        {"train_rows": 8, "validation_rows": 4, "data_seed": 2},
        {"preset": "paper"},
        {
            "reweight": {
                "method": "penalty",
                "refresh_every": 1,
                "scale_by_size": True,
                "max_steps": 2,
                "max_length": 16,
            }
        },
    ],
    ids=lambda more: "-".join(more),
)
def test_options_reach_the_result(more, material, tmp_path):
    record = one(material, tmp_path, **more)
    assert record["compression"]["rate_pruned"] == pytest.approx(2.0, rel=0.05)
    assert (tmp_path / "models" / record["name"]).is_dir() == more.get("keep_model", True)
    if "embeddings" in more:
        assert {
            f"{name}.weight" for name in ("bert.embeddings.word_embeddings", "bert.pooler.dense", "classifier")
        } <= set(record["densities"])
    if "train_rows" in more:
        assert record["examples"] == 4
    if "prune" in more and more["prune"].get("scope") == "model":
        assert len({round(density, 3) for density in record["densities"].values()}) > 1


def test_zeros_stay_exactly_where_the_mask_is(material, tmp_path):
    (run,) = plan(recipe(material))
    tmp_path.joinpath("records").mkdir()
    state = runner.run_stages(run, tmp_path)
    weights = dict(state.model.named_parameters())
    for name, mask in state.masks.items():
        weight = weights[name].detach().numpy()
        np.testing.assert_array_equal(weight != 0, np.asarray(mask))


# --- refused ---


def test_the_record_of_another_run_is_refused(material, tmp_path):
    record = one(material, tmp_path)
    path = tmp_path / "records" / f"{record['name']}.json"
    other = copy.deepcopy(record)
    other["run"]["stages"]["retrain"]["learning_rate"] = 0.5
    path.write_text(json.dumps(other))
    with pytest.raises(ValueError, match=r"is the record of another run.*learning_rate"):
        one(material, tmp_path)
    assert json.loads(path.read_text()) == other


def test_a_record_cut_short_says_what_to_do(material, tmp_path):
    record = one(material, tmp_path)
    path = tmp_path / "records" / f"{record['name']}.json"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"is damaged.*delete it, and blockprune run makes it again from its stages"):
        one(material, tmp_path)
    path.unlink()
    assert one(material, tmp_path)["final"] == record["final"]


def test_a_rate_that_a_matrix_cannot_have_names_the_matrix(material, tmp_path):
    with pytest.raises(ValueError, match=r"bert\.encoder\.layer\.0"):
        one(material, tmp_path, structure="tile:32x32", rate=5)
    assert not (tmp_path / "stages").exists()


def test_a_task_without_labels_is_named(material, tmp_path):
    path = write_jsonl(tmp_path / "bare.jsonl", [{"text": row["text"], "label": None} for row in rows()])
    task = recipe(material)["task"] | {"train": path, "validation": path}
    with pytest.raises((TypeError, ValueError), match="label"):
        one(material, tmp_path / "runs", task=task)


def test_a_model_that_is_not_there_is_named(material, tmp_path):
    with pytest.raises((OSError, ValueError), match="nowhere"):
        one(material, tmp_path, model=str(tmp_path / "nowhere"))


def test_training_that_diverges_ends_with_a_sentence(material, tmp_path):
    wild = {"max_steps": 4, "learning_rate": 1e30, "max_grad_norm": 0, "max_length": 16}
    with pytest.raises(FloatingPointError, match="learning_rate"):
        one(material, tmp_path, fine_tune=wild)
    assert torch.isfinite(torch.tensor(one(material, tmp_path / "tame")["final"]["accuracy"]))


def test_whoever_waits_for_the_stage_of_another_process_is_told(tmp_path):
    """A thread stands for the other process, which goes on once the first one has been told."""
    said, path = [], str(tmp_path / "stage.lock")
    begun, told = threading.Event(), threading.Event()

    def state(report):
        return SimpleNamespace(report=report, run=SimpleNamespace(name="mine"))

    def other():
        with RunState._lock(state(said.append), path, "retrain"):
            begun.set()
            told.wait(60)

    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(other)
        begun.wait(60)
        with RunState._lock(state(lambda line: (said.append(line), told.set())), path, "retrain"):
            held.result()
    assert said == ["mine: retrain: waiting for another process, which is at it"]
