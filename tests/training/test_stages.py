"""The four stages: masks hold to the last bit, the penalty counts once a step, and nothing is left behind."""

import copy
import dataclasses
import inspect
import json
import os
import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import (
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    TrainerCallback,
)

from blockprune_lib.pruning.groups import group_soft_threshold
from blockprune_lib.pruning.lasso import ReweightedGroupLasso
from blockprune_lib.pruning.masks import HeldMasks
from blockprune_lib.pruning.selection import select_model
from blockprune_lib.pruning.structure import BlockStructure
from blockprune_lib.training.arguments import step_count, training_arguments
from blockprune_lib.training.evaluation import Scores, evaluate, prepare
from blockprune_lib.training.hooks import Hook, LassoHook, MaskHook, Progress, near_zero_share
from blockprune_lib.training.report import StageReport
from blockprune_lib.training.settings import TrainingSettings
from blockprune_lib.training.stage_runner import run_stage
from blockprune_lib.training.stages import fine_tune, prune, retrain, train_reweighted
from blockprune_lib.training.trainer import PruningTrainer

from ..helpers.references import alpha
from ..helpers.tiny_training import DATA, ROWS, SIZES, TOKENIZER, examples, settings, tiny


def trainer(model: Any, chosen: TrainingSettings, folder: Any, train: Any = None, **extra: Any) -> PruningTrainer:
    data = prepare(model, TOKENIZER, (train or DATA[0], None))
    arguments = training_arguments(chosen, str(folder), len(data.train))
    return PruningTrainer(model=model, args=arguments, data_collator=data.collate, train_dataset=data.train, **extra)


def assert_pattern_is_the_mask(model: nn.Module, masks: Any) -> None:
    for name, mask in masks.items():
        bits = model.get_parameter(name).detach().view(torch.int32)
        assert not bits[~mask].any(), f"{name}: a pruned weight is not +0.0"
        assert bits[mask].all(), f"{name}: a living weight is zero"


# ---- the stages, end to end


def test_four_stages_learn_prune_and_recover() -> None:
    model, chosen = tiny(), settings(max_steps=40, batch_size=16, learning_rate=3e-3, weight_decay=0.01)
    dense = fine_tune(model, TOKENIZER, DATA, chosen)
    assert dense.after is not None
    assert dense.after["accuracy"] > 0.9
    assert dense.loss is not None
    assert dense.loss[1] < dense.loss[0]
    light = settings(max_steps=20, learning_rate=3e-3)
    pulled = train_reweighted(model, TOKENIZER, DATA, ROWS, lam=1e-2, refresh_every=8, settings=light)
    assert pulled.before == dense.after
    assert pulled.refreshes == 2
    assert pulled.penalty is not None
    assert pulled.near_zero is not None
    assert pulled.near_zero[1] > pulled.near_zero[0]
    masks = prune(model, ROWS, rate=2.0)
    recovered = retrain(model, TOKENIZER, DATA, masks, chosen)
    assert recovered.after is not None
    assert recovered.after["accuracy"] > 0.9
    assert recovered.density == pytest.approx(masks.density)
    assert_pattern_is_the_mask(model, masks)
    for report in (dense, pulled, recovered):
        assert report.steps == report.settings.max_steps
        text = json.dumps(report.to_dict(), allow_nan=False)
        assert json.loads(text)["settings"]["batch_size"] == report.settings.batch_size
        for shown in (repr(report), report._repr_html_()):
            assert report.stage in shown
            assert "accuracy" in shown


def test_prune_keeps_exactly_k_groups() -> None:
    model = tiny()
    before = copy.deepcopy(model.state_dict())
    masks = prune(model, ROWS, rate=3.0)
    assert set(masks) == {name for name in before if name.startswith("bert.encoder") and name.endswith("weight")} - {
        name for name in before if "LayerNorm" in name
    }
    for row in masks.rows():
        assert row["kept"] == max(1, round(row["groups"] / 3.0))
    assert_pattern_is_the_mask(model, masks)
    for name, weight in model.state_dict().items():
        if name in masks:
            assert torch.equal(weight[masks[name]], before[name][masks[name]])
        else:
            assert torch.equal(weight, before[name])


def test_regression_and_many_classes() -> None:
    rows = [row | {"label": float(i % 5)} for i, row in enumerate(examples(40))]
    report = fine_tune(tiny(labels=1), TOKENIZER, (rows, rows[:20]), settings())
    assert report.after is not None
    assert set(report.after) == {"pearson", "spearman", "mean"}
    assert report.majority == {"pearson": 0.0, "spearman": 0.0, "mean": 0.0}
    three = fine_tune(tiny(labels=3), TOKENIZER, (examples(40, labels=3), None), settings())
    assert three.after is None
    assert three.metric is None


def test_same_seed_same_weights() -> None:
    results = []
    for seed in (1, 1, 2):
        model = tiny()
        fine_tune(model, TOKENIZER, (DATA[0], None), settings(seed=seed))
        results.append(torch.cat([weight.flatten() for weight in model.state_dict().values()]))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


# ---- masks


@pytest.mark.parametrize("optimizer", ["adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop"])
def test_masks_hold_for_every_optimiser_with_weight_decay(optimizer: str) -> None:
    model = tiny()
    masks = prune(model, ROWS, rate=3.0, embeddings=True, classifier=True)
    start = copy.deepcopy(model.state_dict())
    rate = 0.1 if optimizer == "sgd" else 1e-3
    retrain(
        model, TOKENIZER, (DATA[0], None), masks, settings(optimizer=optimizer, weight_decay=0.1, learning_rate=rate)
    )
    assert_pattern_is_the_mask(model, masks)
    for name in masks:
        assert not torch.equal(model.get_parameter(name), start[name]), f"{name} was not trained"
    bias = "bert.encoder.layer.0.output.dense.bias"
    assert (model.get_parameter(bias) != 0).all(), "a bias that starts at 0 must not be taken for pruned"


class Rogue(torch.optim.SGD):
    """Writes noise, NaN and -0.0 into every weight: the worst an optimiser can do."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        with torch.no_grad():
            for group in self.param_groups:
                for weight in group["params"]:
                    weight.add_(torch.randn_like(weight))
                    weight.view(-1)[0] = float("nan")


@pytest.mark.parametrize("old", ["momentum", "rogue"])
def test_no_old_state_and_no_optimiser_revives_a_weight(old: str, tmp_path: Any) -> None:
    model = tiny()
    if old == "momentum":
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True)
        for weight in model.parameters():
            optimizer.state[weight]["momentum_buffer"] = torch.ones_like(weight)
    else:
        optimizer = Rogue(model.parameters(), lr=0.1)
    masks = select_model(model, ROWS, rate=4.0)
    for mask in masks.values():
        mask[0, 0] = False  # where Rogue puts its NaN
    steps = settings(max_steps=1 if old == "rogue" else 4)
    hook = MaskHook(model, masks)
    pruner = trainer(model, steps, tmp_path, hooks=[hook], optimizers=(optimizer, None))
    assert hook.held.violations() == {}
    pruner.train()
    assert hook.held.violations() == {}
    assert_pattern_is_the_mask(model, masks)


def test_clipping_sees_only_what_lives(tmp_path: Any) -> None:
    model, batch = tiny(dropout=0.0), examples(8, length=5)
    masks = prune(model, ROWS, rate=6.0)
    reference = copy.deepcopy(model)
    inputs = prepare(model, TOKENIZER, (batch, None)).collate(batch)
    reference(**inputs).loss.backward()
    squares = 0.0
    for name, weight in reference.named_parameters():
        gradient = weight.grad.numpy().astype(np.float64)
        squares += float((gradient[masks[name].numpy()] ** 2 if name in masks else gradient**2).sum())
    pruner = trainer(model, settings(max_steps=1), tmp_path, batch, hooks=[MaskHook(model, masks)])
    pruner.train()
    assert pruner.state.log_history[0]["grad_norm"] == pytest.approx(squares**0.5, rel=1e-4)


@given(
    st.integers(1, 7),
    st.integers(1, 9),
    st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16]),
    st.booleans(),
    st.integers(0, 10),
)
def test_held_masks_clear_bits_and_nothing_else(M: int, N: int, dtype: torch.dtype, across: bool, seed: int) -> None:
    torch.manual_seed(seed)
    module = nn.Module()
    values = torch.randn(N, M).T if across else torch.randn(M, N)
    module.weight = nn.Parameter(values.to(dtype))
    mask = torch.rand(M, N) < 0.5
    held = HeldMasks(module, {"weight": mask})
    odd = torch.tensor([0.0, -0.0, float("nan"), float("inf"), -1.5, 6e-8], dtype=dtype)
    fresh = odd[torch.randint(0, 6, (M, N))]
    for target in ("weight", "gradient"):
        if target == "weight":
            module.weight.data.copy_(fresh)
            wrong = int((~mask & ((fresh != 0) | fresh.signbit())).sum())
            assert sum(held.violations().values()) == wrong
            held.mask_weights_()
            assert held.violations() == {}
            result = module.weight.detach()
        else:
            held.mask_gradients_()  # no gradient yet
            module.weight.grad = fresh.clone()
            held.mask_gradients_()
            result = module.weight.grad
        expected = np.where(mask.numpy(), fresh.float().numpy(), np.float32(0))
        np.testing.assert_array_equal(result.float().numpy(), expected)
        np.testing.assert_array_equal(np.signbit(result.float().numpy()), np.signbit(expected))


@pytest.mark.parametrize("family", ["roberta", "distilbert"])
def test_parameters_without_a_gradient_are_fine(family: str) -> None:
    torch.manual_seed(0)
    if family == "roberta":
        config = RobertaConfig(
            **SIZES, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        )
        model: Any = RobertaForSequenceClassification(config)
    else:
        model = DistilBertForSequenceClassification(
            DistilBertConfig(**SIZES, dim=16, n_layers=1, n_heads=2, hidden_dim=16)
        )
    model.unused = nn.Linear(8, 8)  # as RoBERTa's pooler in the authors' copy
    masks = dict(select_model(model, ROWS, rate=2.0))
    masks["unused.weight"] = torch.eye(8, dtype=torch.bool)
    names = ["input_ids", "attention_mask"]
    tokenizer = SimpleNamespace(pad_token_id=1, model_input_names=names)
    retrain(model, tokenizer, DATA, masks, settings(max_steps=2))
    assert_pattern_is_the_mask(model, masks)


# ---- the penalty in a step


@pytest.mark.parametrize("accumulation", [1, 2, 4])
@pytest.mark.parametrize("lam", [0.0, 0.05])
def test_the_penalty_counts_once_however_the_batch_is_cut(accumulation: int, lam: float, tmp_path: Any) -> None:
    model, batch = tiny(dropout=0.0), examples(8, length=5)
    reference = copy.deepcopy(model)
    reference(**prepare(model, TOKENIZER, (batch, None)).collate(batch)).loss.backward()
    penalty = ReweightedGroupLasso(model, ROWS, lam=lam)
    chosen = settings(
        max_steps=1,
        batch_size=8 // accumulation,
        gradient_accumulation_steps=accumulation,
        optimizer="sgd",
        learning_rate=0.5,
        max_grad_norm=0.0,
    )
    trainer(model, chosen, tmp_path, batch, hooks=[LassoHook(penalty)]).train()
    for name, weight in reference.named_parameters():
        before, gradient = weight.detach().double().numpy(), weight.grad.double().numpy()
        if name in penalty.weights:
            groups = before.reshape(before.shape[0], -1, 8)
            norms = np.sqrt((groups**2).sum(2, keepdims=True))
            gradient = gradient + lam * (groups / norms * alpha(norms, 1e-3)).reshape(before.shape)
        after = model.get_parameter(name).detach().double().numpy()
        np.testing.assert_allclose(after, before - 0.5 * gradient, rtol=1e-4, atol=2e-6, err_msg=name)


class Watch(TrainerCallback):
    """Keeps α after each step, and what α would be if it were refreshed there."""

    def __init__(self, penalty: ReweightedGroupLasso) -> None:
        self.penalty, self.name = penalty, next(iter(penalty.weights))
        self.alpha, self.fresh = [penalty.alpha[self.name].clone()], [penalty.alpha[self.name].clone()]

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        weight = self.penalty.weights[self.name].detach()
        self.alpha.append(self.penalty.alpha[self.name].clone())
        self.fresh.append(alpha(weight.unflatten(1, (-1, 8)).norm(dim=2), 1e-3))


@pytest.mark.parametrize(
    ("refresh_every", "expected"), [(3, [3, 6, 9]), (5, [5]), (10, []), (1, list(range(1, 10))), (None, [])]
)
def test_alpha_is_refreshed_on_time_and_only_then(refresh_every: Any, expected: list[int], tmp_path: Any) -> None:
    model = tiny()
    penalty = ReweightedGroupLasso(model, ROWS)
    watch = Watch(penalty)
    hook = LassoHook(penalty, refresh_every=refresh_every)
    pruner = trainer(model, settings(max_steps=10), tmp_path, hooks=[hook])
    pruner.add_callback(watch)
    pruner.train()
    changed = [i for i in range(1, 11) if not torch.equal(watch.alpha[i], watch.alpha[i - 1])]
    assert changed == expected
    assert hook.refreshes == len(expected)
    for i in expected:
        torch.testing.assert_close(watch.alpha[i], watch.fresh[i])


@pytest.mark.parametrize(("epochs", "expected"), [(1.0, 0), (2.0, 1), (2.5, 2)])
def test_refresh_each_epoch(epochs: float, expected: int) -> None:
    chosen = settings(max_steps=-1, epochs=epochs, batch_size=48)
    report = train_reweighted(tiny(), TOKENIZER, (DATA[0], None), ROWS, settings=chosen)
    assert report.refreshes == expected
    assert report.steps == step_count(chosen, 96) == round(2 * epochs)


def test_plain_group_lasso_never_reweights() -> None:
    report = train_reweighted(
        tiny(), TOKENIZER, (DATA[0], None), ROWS, reweighted=False, refresh_every=1, settings=settings()
    )
    assert report.refreshes == 0


def test_proximal_step_is_the_soft_threshold_after_the_optimiser(tmp_path: Any) -> None:
    model, batch = tiny(dropout=0.0), examples(8, length=5)
    plain = copy.deepcopy(model)
    chosen = settings(max_steps=1, optimizer="sgd", learning_rate=0.25)
    trainer(plain, chosen, tmp_path, batch).train()
    penalty = ReweightedGroupLasso(model, ROWS, lam=0.05)
    before = {name: value.clone() for name, value in penalty.alpha.items()}
    trainer(model, chosen, tmp_path, batch, hooks=[LassoHook(penalty, "proximal")]).train()
    zeros = 0
    for name, value in before.items():
        expected = group_soft_threshold(plain.get_parameter(name).detach(), ROWS, 0.25 * 0.05 * value)
        assert torch.equal(model.get_parameter(name), expected), name
        zeros += int((expected == 0).sum())
    assert zeros > 0


def test_proximal_training_gives_exact_zeros_and_the_penalty_does_not() -> None:
    shares = {}
    for method, lam in (("proximal", 30.0), ("penalty", 1e-2)):
        model = tiny()
        train_reweighted(
            model, TOKENIZER, (DATA[0], None), ROWS, lam=lam, method=method, refresh_every=2, settings=settings()
        )
        weights = [model.get_parameter(name) for name in select_model(model, ROWS, rate=1.0)]
        shares[method] = sum(int((weight == 0).sum()) for weight in weights)
    assert shares["proximal"] > 0
    assert shares["penalty"] == 0


@given(st.integers(1, 9), st.integers(3, 9), st.integers(0, 20))
def test_near_zero_share_by_hand(M: int, N: int, seed: int) -> None:
    dice = np.random.default_rng(seed)
    weight = dice.normal(size=(M, N)) * dice.choice([0.0, 1e-3, 0.05, 1.0], size=(M, 1))
    near = groups = 0
    typical = np.sqrt((weight**2).mean())
    for i in range(M):
        for j in range(0, N, 3):
            near += np.sqrt((weight[i, j : j + 3] ** 2).mean()) <= 0.1 * typical
            groups += 1
    share = near_zero_share({"w": torch.tensor(weight)}, BlockStructure.block_row(3))
    assert share == pytest.approx(near / groups)


# ---- scores


def test_evaluate_is_the_score_of_one_example_at_a_time() -> None:
    model = tiny()
    fine_tune(model, TOKENIZER, (DATA[0], None), settings(max_steps=6))
    right = 0
    with torch.no_grad():
        for row in DATA[1]:
            right += int(model(input_ids=torch.tensor([row["input_ids"]])).logits.argmax()) == row["label"]
    model.train()
    for batch_size in (1, 7, 64):
        assert evaluate(model, TOKENIZER, DATA, batch_size) == {"accuracy": pytest.approx(right / 32)}
    assert model.training
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize("change", ["in place", "data", "buffer", "transposed"])
def test_a_score_is_read_again_only_while_no_weight_has_changed(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(
        "blockprune_lib.training.evaluation.score", lambda *_: calls.append(1) or {"accuracy": len(calls)}
    )
    model = tiny()
    scores = Scores(model, prepare(model, TOKENIZER, DATA))
    assert scores.now() == scores.now() == {"accuracy": 1}
    weight = model.classifier.weight
    with torch.no_grad():
        if change == "in place":
            weight[0, 0] += 1e-3
        elif change == "data":
            weight.data[1, 1] = 0.0
        elif change == "buffer":
            model.register_buffer("scale", torch.ones(1))
        else:  # the same numbers in another order
            weight.copy_(weight.flip(0))
    assert scores.now() == {"accuracy": 2}
    other = (DATA[0], DATA[1][:8])
    assert Scores(model, prepare(model, TOKENIZER, other)).now() == {"accuracy": 3}


@pytest.mark.parametrize("change", ["fewer tokens", "another tokenizer"])
def test_a_score_is_not_that_of_other_tokens(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, place = list[Any](), "blockprune_lib.training.evaluation.score"
    monkeypatch.setattr(place, lambda _, data: seen.append(data) or {"accuracy": 1})
    model, data = tiny(), prepare(tiny(), TOKENIZER, DATA)
    other: dict[str, Any] = {"max_length": 3} if change == "fewer tokens" else {"tokenizer": copy.deepcopy(TOKENIZER)}
    for each in (data, dataclasses.replace(data), dataclasses.replace(data, **other)):
        Scores(model, each).now()
    assert len(seen) == 2
    assert seen[0] is data


@pytest.mark.parametrize("kind", ["BertModel", "BertForTokenClassification", "BertForQuestionAnswering"])
def test_a_model_without_a_row_of_logits_a_text_is_refused(kind: str) -> None:
    model = getattr(transformers, kind)(tiny().config)
    with pytest.raises(TypeError, match=rf"one row of logits a text; got a {kind}, which gives (no )?logits"):
        evaluate(model, TOKENIZER, DATA)


@pytest.mark.parametrize("label", [[0, 1, 1], [0.0, 1.0], np.array([1, 0]), torch.tensor([1, 0, 1])])
def test_a_label_a_token_or_several_a_text_are_refused(label: Any) -> None:
    train = [{"input_ids": [1, 5, 6], "labels": label}] * 4
    with pytest.raises(ValueError, match=rf"one label an example; the first has {len(label)}: .*MaskCallback"):
        fine_tune(tiny(), TOKENIZER, (train, None), settings())


def test_evaluation_on_the_way_is_logged() -> None:
    report = fine_tune(tiny(), TOKENIZER, DATA, settings(evaluate_every=2, evaluate_first=False))
    assert [entry["step"] for entry in report.history if "eval_accuracy" in entry] == [2, 4]
    assert report.before is None
    assert report.after is not None


def test_a_hook_reports_itself(tmp_path: Any) -> None:
    class Counting(Hook):
        name = "counting"
        steps = 0

        def after_optimizer_step(self, progress: Progress) -> None:
            self.steps += 1

        def report(self, history: list[dict[str, Any]]) -> dict[str, Any]:
            return {"refreshes": self.steps, "near_zero": (0.0, len(history) / 4)}

    report = run_stage("fine-tune", tiny(), TOKENIZER, (DATA[0], None), settings(), [Counting()])
    assert report.refreshes == 4
    assert report.near_zero == (0.0, 1.0)
    assert report.density is None


def test_private_names_of_the_trainer() -> None:
    """`trainer` and `arguments` were written for transformers 4.57 and 5.x: where this fails, look there first."""
    assert int(transformers.__version__.split(".")[0]) in (4, 5)
    for method, parameters in (("_save_checkpoint", []), ("_get_train_sampler", ["train_dataset"])):
        assert set(parameters) <= set(inspect.signature(getattr(transformers.Trainer, method)).parameters)
    assert "_n_gpu" in inspect.getsource(transformers.TrainingArguments)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_masks_follow_the_model_to_a_gpu() -> None:
    model = tiny()
    masks = prune(model, ROWS, rate=3.0)
    report = retrain(model, TOKENIZER, DATA, masks, settings())
    assert report.device == "cuda"
    assert_pattern_is_the_mask(model.cpu(), masks)


# ---- what a stage leaves behind


def test_nothing_is_printed_nothing_is_left_on_disk(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model = tiny()
    fine_tune(model, TOKENIZER, DATA, settings(evaluate_every=2, warmup_ratio=0.5, schedule="cosine"))
    retrain(model, TOKENIZER, DATA, prune(model, ROWS, 2.0), settings())
    assert os.listdir(tmp_path) == []
    assert capfd.readouterr() == ("", "")


def test_output_dir_gets_the_model_without_pickles(tmp_path: Any) -> None:
    model = tiny()
    fine_tune(model, TOKENIZER, DATA, settings(output_dir=tmp_path / "run"))
    assert os.listdir(tmp_path) == ["run"]
    assert sorted(os.listdir(tmp_path / "run" / "fine-tune")) == [
        "config.json",
        "model.safetensors",
        "report.json",
        "stage.json",
    ]
    again = BertForSequenceClassification.from_pretrained(tmp_path / "run" / "fine-tune")
    assert torch.equal(again.classifier.weight, model.classifier.weight)


@pytest.mark.parametrize("fails", [False, True])
def test_the_surroundings_stay_as_they_were(fails: bool) -> None:
    model = tiny()
    keys = set(vars(model))
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    model.bert.pooler.dense.bias.requires_grad_(False)
    free = {name for name, weight in model.named_parameters() if weight.requires_grad}
    chosen = settings(freeze_embeddings=True, bf16=True, optimizer="sgd", learning_rate=1e25 if fails else 1e-3)
    if fails:
        with pytest.raises(FloatingPointError, match=r"diverged.*learning_rate below 1e\+25"):
            fine_tune(model, TOKENIZER, DATA, settings(optimizer="sgd", learning_rate=1e25, max_grad_norm=0.0))
    else:
        fine_tune(model, TOKENIZER, DATA, chosen)
    assert set(vars(model)) == keys
    assert not model.training
    assert {name for name, weight in model.named_parameters() if weight.requires_grad} == free
    assert all(weight.grad is None for weight in model.parameters())
    assert random.getstate() == states[0]
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])


def test_frozen_embeddings_stay_and_cost_no_gradient(tmp_path: Any) -> None:
    model = tiny()
    before = copy.deepcopy(model.state_dict())
    seen = []
    model.bert.embeddings.register_forward_hook(lambda module, inputs, output: seen.append(output.requires_grad))
    fine_tune(model, TOKENIZER, (DATA[0], None), settings(freeze_embeddings=True, weight_decay=0.1))
    assert seen
    assert not any(seen)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name]) == name.startswith("bert.embeddings"), name


def test_bf16_autocast_ends_with_its_stage() -> None:
    model = tiny()
    fine_tune(model, TOKENIZER, (DATA[0], None), settings(bf16=True))
    seen = []
    hook = model.classifier.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    fine_tune(model, TOKENIZER, DATA, settings(max_steps=1))
    hook.remove()
    assert set(seen) == {torch.float32}


# ---- bad input


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (([], None), "train is empty"),
        ((DATA[0], []), "validation is empty"),
        ((DATA[0],), "1 of them"),
        ("sst2", "Task or a pair"),
        ((None, DATA[1]), "train must be a sequence"),
        (([{"text": "a"}], None), "input_ids and label"),
        (([{"input_ids": [1, 2], "label": 2}], None), "0 to 1"),
        (([{"input_ids": [1, 2], "label": 0.5}], None), "0 to 1"),
    ],
)
def test_data_that_does_not_fit(data: Any, message: str) -> None:
    model = tiny()
    with pytest.raises((TypeError, ValueError), match=message):
        fine_tune(model, TOKENIZER, data, settings())
    assert not model.training


def test_bad_arguments_name_themselves() -> None:
    model = tiny()
    start = copy.deepcopy(model.state_dict())
    masks = select_model(model, ROWS, rate=2.0)
    name = next(iter(masks))

    def reweight(**changes: Any) -> StageReport:
        structure = changes.pop("structure", ROWS)
        return train_reweighted(model, TOKENIZER, DATA, structure, **({"settings": settings()} | changes))

    cases: list[tuple[Any, type[Exception], str]] = [
        (lambda: fine_tune(model, TOKENIZER, DATA, {"max_steps": 3}), TypeError, "TrainingSettings"),
        (lambda: fine_tune(model, None, DATA, settings()), TypeError, "tokenizer"),
        (lambda: fine_tune(model, TOKENIZER, DATA, settings(optimizer="adamm")), ValueError, "optimizer"),
        (lambda: fine_tune(model, TOKENIZER, DATA, settings(schedule="zigzag")), ValueError, "schedule"),
        (lambda: reweight(lam=float("nan")), ValueError, "lam"),
        (lambda: reweight(lam=-1.0), ValueError, "lam"),
        (lambda: reweight(eps=0.0), ValueError, "eps"),
        (lambda: reweight(method="proximall"), ValueError, "method"),
        (lambda: reweight(refresh_every=0), ValueError, "refresh_every"),
        (lambda: reweight(refresh_every=True), ValueError, "refresh_every"),
        (lambda: reweight(refresh_every="step"), ValueError, "refresh_every"),
        (lambda: reweight(structure="block_row:8"), TypeError, "structure"),
        (lambda: reweight(structure=BlockStructure.block_row(64)), ValueError, "block larger"),
        (
            lambda: reweight(embeddings=True, settings=settings(freeze_embeddings=True)),
            ValueError,
            "freeze_embeddings",
        ),
        (lambda: prune(model, ROWS, 0.5), ValueError, "rate"),
        (lambda: prune(model, ROWS, float("nan")), ValueError, "rate"),
        (lambda: prune(model, ROWS, 2.0, scope="layer"), ValueError, "scope"),  # type: ignore[arg-type]
        (lambda: retrain(model, TOKENIZER, DATA, {}, settings()), ValueError, "masks is empty"),
        (lambda: retrain(model, TOKENIZER, DATA, [masks[name]], settings()), TypeError, "masks"),  # type: ignore[arg-type]
        (
            lambda: retrain(model, TOKENIZER, DATA, {"module." + name: masks[name]}, settings()),
            ValueError,
            "module.bert",
        ),
        (lambda: retrain(model, TOKENIZER, DATA, {name: masks[name][:1]}, settings()), ValueError, name),
        (lambda: retrain(model, TOKENIZER, DATA, {name: masks[name].float()}, settings()), ValueError, "bool"),
        (lambda: evaluate(model, TOKENIZER, (DATA[0], None)), ValueError, "validation"),
        (lambda: evaluate(model, TOKENIZER, DATA, batch_size=0), ValueError, "batch_size"),
    ]
    for act, kind, message in cases:
        with pytest.raises(kind, match=message):
            act()
    for key, weight in model.state_dict().items():
        assert torch.equal(weight, start[key]), f"{key} changed although the input was refused"
