"""A recipe is checked before anything is trained: every key, what it takes, what it refuses, and what a preset says."""

import itertools
import json
import os

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from blockprune_lib.data.tasks import NAMES
from blockprune_lib.experiments import plan, read_recipe, safe_yaml
from blockprune_lib.experiments.actions import ACTIONS
from blockprune_lib.experiments.methods import METHODS, Stage
from blockprune_lib.experiments.presets import preset
from blockprune_lib.experiments.recipe import OPTIONS, SWEPT, Recipe
from blockprune_lib.experiments.stage_settings import STAGE_SETTINGS, TRAINED

PRESETS = Recipe.model_json_schema()["properties"]["preset"]["enum"]
LEAST = {"task": "rte", "structure": "block_row:64", "rate": 5}
OWN = {"name": "mine", "train": "a.csv", "validation": "b.csv", "text": ["q", "a"], "label": "y", "metric": "matthews"}

# Every key of the top, with a value that is not its default and what the run then holds.
TOP = {
    "preset": "paper",
    "model": "some/folder",
    "task": "mrpc",
    "structure": "tile:4x8",
    "method": "movement",
    "seed": 7,
    "rate": 1.79,
    "train_rows": 100,
    "validation_rows": 50,
    "data_seed": 3,
    "embeddings": True,
    "pooler": True,
    "classifier": True,
    "keep_model": False,
    "layers": 2,
    "held_out": 0.1,
    "variant": "no-teacher",
}
# Every key of a trained stage, then those of one stage alone.
TRAINING = {
    "learning_rate": 3e-5,
    "batch_size": 16,
    "epochs": 2.5,
    "max_steps": 12,
    "weight_decay": 0.02,
    "warmup_ratio": 0.2,
    "schedule": "cosine",
    "max_grad_norm": 0.5,
    "evaluate_every": 3,
    "freeze_embeddings": False,
    "bf16": True,
    "dropout": 0.2,
    "gradient_accumulation_steps": 2,
    "optimizer": "adafactor",
    "group_by_length": False,
    "max_length": 64,
    "checkpoint_every": 9,
}
OTHER = {
    "reweight": {
        "lam": 0.01,
        "eps": 0.1,
        "refresh_every": 7,
        "method": "proximal",
        "lam_schedule": "rise",
        "scale_by_size": True,
        "reach": 3.0,
        "hold": True,
        "distil": 0.25,
        "temperature": 4.0,
        "hidden": 1.5,
    },
    "prune": {
        "scope": "model",
        "balanced": "rows",
        "schedule": "gradual",
        "begin": 0.2,
        "end": 0.9,
        "fix": 0.95,
        "keep": "spread",
    },
    "retrain": {"support": "packed", "distil": 0.25, "temperature": 4.0, "hidden": 1.5},
}
STAGE_CASES = [(stage, key, value) for stage in TRAINED for key, value in TRAINING.items()]
STAGE_CASES += [(stage, key, value) for stage, keys in OTHER.items() for key, value in keys.items()]


def planned(**more):
    (run,) = plan(LEAST | more)
    return run


# --- every key ---


def test_the_cases_name_every_key():
    assert set(TOP) == {*SWEPT, *OPTIONS}
    named = {stage: {key for other, key, _ in STAGE_CASES if other == stage} for stage in STAGE_SETTINGS}
    assert named == {stage: set(settings.model_fields) for stage, settings in STAGE_SETTINGS.items()}


@pytest.mark.parametrize("key", TOP)
def test_every_key_of_the_top_reaches_the_run(key):
    run = planned(**{key: TOP[key]})
    assert (run.options if key in (*OPTIONS, "layers") else vars(run))[key] == TOP[key]
    assert run.to_dict() == json.loads(json.dumps(vars(run)))


@pytest.mark.parametrize(("stage", "key", "value"), STAGE_CASES)
def test_every_setting_of_a_stage_reaches_it(stage, key, value):
    # A method with a stage of its own for each key: with `lam: auto` two of them are one, and share their steps.
    run = planned(**{stage: {key: value}}, **({"method": "magnitude"} if key == "max_steps" else {}))
    assert run.stages[stage][key] == value
    if stage in TRAINED and key in TRAINING:
        assert getattr(run.settings(stage), key) == value
        assert key not in run.extra(stage)
    else:
        assert run.extra(stage)[key] == value
    for other in STAGE_SETTINGS:
        if other != stage:
            assert run.stages[other] == planned().stages[other]


def test_defaults():
    run = planned()
    assert (run.model, run.method, run.seed) == ("minilm", "reweighted", 42)
    assert run.options == {
        "preset": "best", "train_rows": None, "validation_rows": None, "data_seed": 0, "embeddings": False,
        "pooler": False, "classifier": False, "keep_model": True,
    }  # fmt: skip
    assert run.settings("retrain").seed == 42


def test_the_text_of_a_structure_is_put_in_its_one_form():
    assert planned(structure=" block_row:064 ").structure == "block_row:64"


@pytest.mark.parametrize("task", NAMES)
def test_every_task_and_a_description(task):
    assert planned(task=task).task == task
    run = planned(task=OWN)
    assert (run.task, run.description) == ("mine", OWN)


# --- lists ---


def test_lists_give_every_combination_once_and_neighbours_share_their_stages():
    lists = {
        "model": ["minilm", "bert-base-uncased"],
        "task": ["rte", OWN],
        "structure": ["block_row:64", "irregular"],
        "method": list(METHODS),
        "seed": [1, 2],
        "rate": [1.5, 5],
    }
    runs = plan(LEAST | lists)
    found = [(r.model, r.description or r.task, r.structure, r.method, r.seed, r.rate) for r in runs]
    assert found == [tuple(choice) for choice in itertools.product(*lists.values())]
    assert len({run.name for run in runs}) == len(runs) == 32 * len(METHODS)
    together = [(run.model, run.task) for run in runs]
    assert [key for key, _ in itertools.groupby(together)] == sorted(set(together), key=together.index)


@given(st.text(max_size=20), st.sampled_from(["block_row:64", "tile:4x4", "row"]), st.floats(1, 1e6))
def test_a_name_is_a_file_name_on_every_system(model, structure, rate):
    name = planned(model=model or "x", structure=structure, rate=rate).name
    assert not set(name) & set('/\\:*?"<>| \n')
    assert name == os.path.basename(name)


@pytest.mark.parametrize(
    "lists",
    [
        {"rate": [1.00000001, 1.00000002]},
        {"model": ["a/tiny", "b/tiny"]},
        {"structure": ["block_row:64", "block_row:064"]},
        {"task": [OWN, OWN | {"label": "z"}]},
    ],
)
def test_runs_that_would_overwrite_one_another_are_refused(lists):
    with pytest.raises(ValueError, match="two runs would have one name"):
        plan(LEAST | lists)


# --- refused ---


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"retrian": {}}, "recipe: there is no 'retrian'; did you mean 'retrain'"),
        ({"retrain": {"epoch": 3}}, "recipe: retrain: there is no 'epoch'; did you mean 'epochs'"),
        ({"prune": {"epochs": 3}}, "recipe: prune: there is no 'epochs'"),
        ({"fine_tune": {"lam": 1}}, "recipe: fine_tune: there is no 'lam'"),
        ({"fine_tune": {"output_dir": "x"}}, "recipe: fine_tune: there is no 'output_dir'"),
        ({"fine_tune": {"seed": 3}}, "recipe: fine_tune: there is no 'seed'"),
        ({3: 4}, "there is no '3'"),
        ({"task": "rt"}, "did you mean 'rte'"),
        ({"task": 5}, "task must be a GLUE task's name or a description"),
        ({"task": None}, "task must be"),
        ({"model": 5}, "recipe: model must be text that is not empty; got 5: 'minilm' would do"),
        ({"model": ""}, "recipe: model must be text that is not empty; got ''"),
        ({"structure": 64}, "recipe: structure must be text; got 64: 'block_row:64' would do"),
        ({"structure": "rows"}, "recipe: structure: text must name a structure; got 'rows'"),
        ({"structure": "block_row:0"}, "height|width"),
        ({"structure": []}, "structure is an empty list"),
        ({"method": "magnitudes"}, "method must be one of reweighted"),
        ({"method": [["magnitude"]]}, "method must be one of"),
        ({"preset": "papers"}, "recipe: preset must be one of 'best', 'paper'; got 'papers'"),
        ({"preset": ["best"]}, "preset must be one of"),
        ({"seed": -1}, "recipe: seed must be a whole number from 0 to"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"seed": True}, "seed must be a whole number"),
        ({"seed": [1, 1]}, "seed names a value twice"),
        ({"rate": 0.5}, "recipe: rate must be a number of at least 1; got 0.5: 5 would do"),
        ({"rate": 0}, "rate must be"),
        ({"rate": -5}, "rate must be"),
        ({"rate": float("nan")}, "rate must be a number"),
        ({"rate": float("inf")}, "rate must be a number"),
        ({"rate": "5"}, "rate must be a number of at least 1; got '5'"),
        ({"rate": None}, "rate must be a number"),
        ({"rate": True}, "rate must be a number"),
        ({"rate": [5, [3]]}, "rate must be a number"),
        ({"train_rows": 0}, "train_rows must be a whole number of at least 1, or None; got 0"),
        ({"train_rows": [10, 20]}, "train_rows must be a whole number"),
        ({"validation_rows": 2.5}, "validation_rows must be a whole number"),
        ({"data_seed": None}, "data_seed must be a whole number of at least 0"),
        ({"data_seed": -1}, "data_seed must be"),
        ({"embeddings": 1}, "embeddings must be True or False; got 1"),
        ({"pooler": "yes"}, "pooler must be True or False"),
        ({"classifier": None}, "classifier must be True or False"),
        ({"keep_model": []}, "keep_model must be True or False"),
        ({"fine_tune": None}, "recipe: fine_tune must be keys and values"),
        ({"fine_tune": [1]}, "recipe: fine_tune must be keys and values"),
        ({"fine_tune": {"learning_rate": "2e-5x"}}, "recipe: fine_tune.learning_rate must be a number"),
        ({"fine_tune": {"learning_rate": 0}}, "recipe: fine_tune.learning_rate must be a number above 0"),
        ({"reweight": {"batch_size": 0}}, "recipe: reweight.batch_size must be a whole number of at least 1"),
        ({"retrain": {"epochs": -1}}, "recipe: retrain.epochs must be"),
        ({"retrain": {"bf16": "no"}}, "recipe: retrain.bf16 must be True or False"),
        ({"retrain": {"optimizer": "adamm"}}, "recipe: retrain: optimizer must be one of adamw_torch"),
        ({"retrain": {"schedule": "zigzag"}}, "recipe: retrain: schedule must be one of linear"),
        ({"reweight": {"lam": -1}}, "recipe: reweight.lam must be a number of at least 0"),
        ({"reweight": {"lam": "big"}}, "recipe: reweight.lam must be"),
        ({"reweight": {"eps": 0}}, "recipe: reweight.eps must be a number above 0"),
        ({"reweight": {"refresh_every": "step"}}, "recipe: reweight: refresh_every must be"),
        ({"reweight": {"refresh_every": 0}}, "recipe: reweight.refresh_every must be a whole number of at least 1"),
        ({"reweight": {"method": "loss"}}, "recipe: reweight.method must be one of 'penalty', 'proximal'"),
        ({"reweight": {"lam_schedule": "fall"}}, "recipe: reweight.lam_schedule must be one of 'constant', 'rise'"),
        ({"reweight": {"scale_by_size": 1}}, "recipe: reweight.scale_by_size must be True or False"),
        ({"prune": {"scope": "block"}}, "recipe: prune.scope must be one of 'matrix', 'model'"),
        ({"prune": {"balanced": "diagonal"}}, "recipe: prune.balanced must be True or False, or one of 'rows'"),
        ({"prune": {"scope": "model", "balanced": True}}, "recipe: prune: balanced strips need scope='matrix'"),
        ({"prune": {"schedule": "twice"}}, "recipe: prune.schedule must be one of 'once', 'gradual'"),
        ({"prune": {"begin": 0.9}}, "recipe: prune: begin and end must be"),
        ({"prune": {"end": 1.5}}, "recipe: prune.end must be a number from 0 to 1"),
        ({"retrain": {"support": "sparse"}}, "recipe: retrain.support must be one of 'masks', 'packed'"),
        ({"retrain": {"distil": 1.5}}, "recipe: retrain.distil must be a number from 0 to 1"),
        ({"retrain": {"temperature": 0}}, "recipe: retrain.temperature must be a number above 0"),
        ({"method": "gradual", "retrain": {"max_steps": 5}}, "max_steps must be given to all of reweight and retrain"),
        ({"embeddings": True, "retrain": {"freeze_embeddings": True}}, "embeddings: true prunes what"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_by_name(more, says):
    with pytest.raises((TypeError, ValueError), match=says):
        plan(LEAST | more)


@pytest.mark.parametrize("key", ["task", "structure", "rate"])
def test_what_is_needed_is_named(key):
    with pytest.raises(ValueError, match=f"recipe lacks {key}; such as"):
        plan({other: value for other, value in LEAST.items() if other != key})


@pytest.mark.parametrize("recipe", [None, [], "rte", 3])
def test_what_is_no_dict_is_refused(recipe):
    with pytest.raises(TypeError, match="recipe must be a dict"):
        plan(recipe)


def test_planning_changes_nothing_it_is_given():
    recipe = LEAST | {"retrain": {"epochs": 2}, "task": OWN}
    before = yaml.safe_dump(recipe)
    first, second = plan(recipe), plan(recipe)
    first[0].stages["retrain"]["epochs"] = 99
    first[0].description["label"] = "z"
    assert yaml.safe_dump(recipe) == before
    assert second[0].stages["retrain"]["epochs"] == 2
    assert preset("best", "rte")["retrain"]["epochs"] != 99


# --- the register of methods ---


@pytest.mark.parametrize("name", METHODS)
def test_what_a_method_runs_can_be_done(name):
    method = METHODS[name]
    assert method.name == name
    assert method.stages[0] == Stage("fine_tune", "bag_of_words" if name == "bag-of-words" else "fine_tune")
    for stage in (*method.stages, *method.stages_with("gradual"), *method.stages_with("once", auto=True)):
        assert stage.action in ACTIONS
        assert {stage.key, *stage.budget} <= set(STAGE_SETTINGS)


def test_a_gradual_schedule_puts_pruning_and_retraining_into_one_stage():
    def actions(name):
        run = planned(method=name, prune={"schedule": "gradual"}, reweight={"lam": 1.0})
        return [stage.action for stage in run.method_stages]

    assert actions("reweighted") == ["fine_tune", "train_reweighted", "prune_gradually"]
    assert actions("magnitude") == ["fine_tune", "fine_tune", "prune_gradually"]
    assert actions("one-shot") == ["fine_tune", "prune"]


def test_a_strength_that_follows_the_target_puts_all_three_into_one_stage():
    for name, changes in {
        "reweighted": {},
        "no-refresh": {"refresh_every": None},
        "group-lasso": {"reweighted": False},
    }.items():
        first, last = planned(method=name).method_stages
        assert (first.action, last.action, last.changes) == ("fine_tune", "shrink_gradually", changes)
        assert last.budget == ("reweight", "retrain")
    assert [stage.action for stage in planned(reweight={"lam": 2.0}).method_stages] == [
        "fine_tune", "train_reweighted", "prune", "retrain",
    ]  # fmt: skip


def test_layers_are_removed_after_fine_tuning():
    run = planned(layers=2, method="dense")
    assert [stage.action for stage in run.method_stages] == ["fine_tune", "keep_layers", "fine_tune"]
    assert "dense-2-layers" in run.name
    assert "layers" not in planned().options


def test_a_variant_is_a_name_for_other_settings():
    runs = plan(LEAST | {"parts": [{}, {"variant": "all-pay", "reweight": {"reach": None}}]})
    assert [run.name for run in runs] == [
        "rte_minilm_block_row-64_reweighted_rate5_seed42", "rte_minilm_block_row-64_reweighted-all-pay_rate5_seed42",
    ]  # fmt: skip
    assert runs[1].extra("reweight")["reach"] is None
    with pytest.raises(ValueError, match="variant must be"):
        plan(LEAST | {"variant": "a/b"})


def test_parts_are_run_in_order_and_what_two_ask_for_once():
    recipe = LEAST | {"retrain": {"epochs": 7}, "parts": [
        {"seed": [1, 2]},
        {"seed": [1, 3], "method": ["reweighted", "gradual"]},
        {"task": "mrpc", "retrain": {"learning_rate": 1e-3}},
    ]}  # fmt: skip
    runs = plan(recipe)
    assert [(run.task, run.method, run.seed) for run in runs] == [
        ("rte", "reweighted", 1), ("rte", "reweighted", 2), ("rte", "reweighted", 3), ("rte", "gradual", 1),
        ("rte", "gradual", 3), ("mrpc", "reweighted", 42),
    ]  # fmt: skip
    alone = planned(task="mrpc").stages["retrain"]
    assert runs[-1].stages["retrain"] == alone | {"epochs": 7, "learning_rate": 1e-3}
    with pytest.raises(ValueError, match="different runs by one name"):
        plan(LEAST | {"parts": [{}, {"retrain": {"epochs": 99}}]})
    for wrong in ([], {"seed": 1}, [3], [{"parts": []}]):
        with pytest.raises((TypeError, ValueError), match="part"):
            plan(LEAST | {"parts": wrong})


@pytest.mark.parametrize(
    ("whole", "part"), [({}, 5), ({"epochs": 7}, None), (5, {"epochs": 7}), (None, {"epochs": 7}), ({}, "epochs: 7")]
)
def test_a_stage_that_holds_no_keys_is_named_in_a_part_too(whole, part):
    with pytest.raises((TypeError, ValueError), match="retrain must be keys and values"):
        plan(LEAST | {"retrain": whole, "parts": [{"seed": 1, "retrain": part}]})


def test_methods_without_a_second_stage_get_its_steps():
    def lasts(method, retrain, reweight):
        run = planned(method=method, retrain=retrain, reweight=reweight | {"lam": 1.0})
        settings = run.budget(run.method_stages[-1])
        return {"epochs": settings.epochs, "max_steps": settings.max_steps}

    for method in ("gradual", "movement"):
        assert lasts(method, {"epochs": 2.0}, {"epochs": 1.5}) == {"epochs": 3.5, "max_steps": -1}
        assert lasts(method, {"max_steps": 20}, {"max_steps": 30})["max_steps"] == 50
    assert lasts("reweighted", {"epochs": 2.0}, {"epochs": 1.5})["epochs"] == 2.0
    assert lasts("magnitude", {"max_steps": 20}, {"max_steps": 30})["max_steps"] == 20


# --- presets ---

# The authors' scripts for BERT-base on GLUE and their trainer's defaults, as the research notes of this project list
# them: (learning rate, epochs) of fine-tuning where it is known, of the second stage and of the fourth; tokens.
MRPC = (2e-5, 3)
PAPER = {
    "mnli": (None, (2e-5, 3), (2e-5, 3), 128),
    "qqp": (None, (2e-5, 3), (2e-5, 3), 128),
    "qnli": (None, (2e-5, 3), (2e-5, 3), 174),
    "sst2": (None, (2e-5, 3), (2e-5, 3), 128),
    "cola": (None, (2e-5, 3), (2e-5, 3), 128),
    "stsb": (None, (2e-5, 3), (2e-5, 3), 128),
    "mrpc": (MRPC, (2e-5, 3), (2e-5, 3), 128),
    "rte": ((5e-5, 7), (3e-5, 4), (2e-5, 3), 128),
}


@pytest.mark.parametrize("task", PAPER)
def test_the_papers_preset_is_what_the_scripts_ran(task):
    run = planned(preset="paper", task=task)
    fine_tune, second, last, tokens = PAPER[task]
    for stage, (rate, epochs) in zip(TRAINED, (fine_tune or MRPC, second, last), strict=True):
        settings = run.settings(stage)
        assert (settings.learning_rate, settings.epochs, settings.max_length) == (rate, epochs, tokens)
        assert (settings.batch_size, settings.gradient_accumulation_steps, settings.max_steps) == (32, 1, -1)
        assert (settings.weight_decay, settings.warmup_ratio, settings.schedule) == (0.0, 0.0, "linear")
        assert (settings.max_grad_norm, settings.bf16, settings.freeze_embeddings) == (1.0, False, False)
        assert settings.optimizer == "adamw_torch"  # betas 0.9 and 0.999, eps 1e-8
        assert settings.seed == 42
    assert run.extra("reweight") == {"lam": 1e-4, "eps": 1e-3, "refresh_every": "4 epochs"}
    assert run.extra("prune") == {"scope": "matrix", "schedule": "once"}
    assert run.extra("retrain") == {}


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("task", [*NAMES, "mine"])
def test_presets_plan_for_every_task_and_may_be_overridden(name, task):
    run = planned(preset=name, task=OWN if task == "mine" else task, reweight={"epochs": 9})
    assert run.stages["reweight"]["epochs"] == 9
    assert run.stages["fine_tune"] == preset(name, task)["fine_tune"]
    assert run.settings("retrain").batch_size in (16, 32)


@pytest.mark.parametrize(("more", "gentle"), [
    ({"rate": 1.79}, True), ({"rate": 1.01}, True), ({"rate": 1.99}, True), ({"rate": 2}, False), ({"rate": 5}, False),
    ({"rate": 1}, False), ({"rate": 1.79, "layers": 3}, False), ({"rate": 1.79, "preset": "paper"}, False),
])  # fmt: skip
def test_the_best_preset_trains_gently_where_more_than_half_stays(more, gentle):
    recipe = {"preset": "best", "task": "cola", **more}
    run, paper = planned(**recipe), "preset" in more
    rates = {run.settings(stage).learning_rate for stage in ("reweight", "retrain")}
    assert rates == {3e-4 if gentle else 2e-5 if paper else 1e-3}
    assert run.settings("fine_tune").learning_rate == (2e-5 if paper else 1e-4)
    told = planned(**recipe, retrain={"learning_rate": 7e-4})
    assert told.settings("retrain").learning_rate == 7e-4


@pytest.mark.parametrize("rate", [1, 1.79, 5])
def test_the_best_preset_trains_the_dense_control_on_as_it_was_fine_tuned(rate):
    run = planned(preset="best", task="cola", method="dense", rate=rate)
    assert run.settings("retrain").learning_rate == run.settings("fine_tune").learning_rate == 1e-4
    assert planned(method="dense", rate=rate, layers=2).settings("retrain").learning_rate == 1e-3
    assert planned(method="dense", preset="paper", rate=rate).settings("retrain").learning_rate == 2e-5


def test_the_best_preset_reweights_learns_from_the_dense_model_and_leaves_embeddings():
    run = planned(preset="best")
    assert run.extra("reweight")["lam"] == "auto"
    for stage in ("reweight", "retrain"):
        taught = {key: run.extra(stage)[key] for key in ("distil", "temperature", "hidden")}
        assert taught == {"distil": 0.7, "temperature": 2.0, "hidden": 2.0}
    assert all(run.settings(stage).freeze_embeddings for stage in TRAINED)
    assert run.settings("reweight").epochs > 1, "else no refresh would ever come"
    pruned = planned(preset="best", embeddings=True)
    assert not any(pruned.settings(stage).freeze_embeddings for stage in TRAINED)


# --- files ---


def test_a_file_is_read_as_it_stands(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("task: rte\nstructure: [block_row:64, tile:32x32]\nrate: 1.79\nretrain: {learning_rate: 2e-5}\n")
    assert read_recipe(path) == {
        "task": "rte", "structure": ["block_row:64", "tile:32x32"], "rate": 1.79, "retrain": {"learning_rate": 2e-5},
    }  # fmt: skip


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_way_to_write_a_number_is_a_number(value):
    for text in (repr(value), f"{value:e}", f"{value:.0e}", f"{value:.3E}"):
        assert safe_yaml.load(text, "x") == float(text)


@pytest.mark.parametrize("text", ["2e", "e5", "2e-5x", "block_row:64", "v2e-5", "1e-5-3", "no-refresh", "rte"])
def test_what_is_no_number_stays_text(text):
    assert safe_yaml.load(text, "x") == text


def test_anchors_and_merges_work():
    text = "a: &a {epochs: 3, lam: 1e-3}\nb: {<<: *a, epochs: 4}"
    assert safe_yaml.load(text, "x")["b"] == {"epochs": 4, "lam": 1e-3}


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch MARK']",
        "task: !!python/object/apply:os.system ['touch MARK']",
        "task: !!python/object/new:os.system ['touch MARK']",
        "task: !!python/name:os.system",
        "task: !!python/module:subprocess",
        "!!python/object/apply:subprocess.check_call [[touch, MARK]]",
        "? !!python/object/apply:os.system ['touch MARK']\n: 1",
        'rate: !!python/object/apply:builtins.eval [\'open("MARK", "w")\']',
    ],
)
def test_unsafe_yaml_is_refused_and_nothing_runs(text, tmp_path):
    path, mark = tmp_path / "r.yaml", tmp_path / "mark"
    path.write_text(text.replace("MARK", str(mark)))
    with pytest.raises(ValueError, match=r"r\.yaml' cannot be read: could not determine a constructor"):
        read_recipe(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "must hold keys and values; got NoneType"),
        (b"- rte\n", "must hold keys and values; got list"),
        (b"rte", "must hold keys and values; got str"),
        (b"task: [rte", "cannot be read"),
        (b"task: rte\n\trate: 5", "cannot be read"),
        (b"\xff\xfe\x00task", "cannot be read"),
        (b"rate: 5\ntask: rte\nrate: 3\n", "the key 'rate' is given twice"),
        (b"retrain: {epochs: 1, epochs: 2}", "the key 'epochs' is given twice"),
        (b"[a]: 1", "cannot be read"),
    ],
)
def test_files_that_are_no_recipe_are_named(content, says, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"r.yaml' .*{says}"):
        read_recipe(path)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(ValueError, match="there is no file"):
        read_recipe(tmp_path / "none.yaml")
    with pytest.raises(ValueError, match="cannot be read"):
        read_recipe(tmp_path)
