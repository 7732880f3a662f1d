"""A teacher's part of the loss: against SciPy, by finite differences, and what it must leave alone."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax
from torch import nn

from blockprune_lib.pruning.depth import keep_layers_
from blockprune_lib.training.distillation import Teacher, distillation_loss, hidden_loss
from blockprune_lib.training.stages import fine_tune, prune, retrain

from ..helpers.tiny_training import DATA, ROWS, TOKENIZER, settings, tiny


@given(st.integers(1, 6), st.integers(2, 5), st.floats(0.3, 8), st.integers(0, 99))
def test_the_loss_is_the_divergence_of_the_softened_classes(
    n: int, classes: int, temperature: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    student, teacher = rng.normal(size=(2, n, classes)) * 3
    p, q = (log_softmax(logits / temperature, axis=1) for logits in (teacher, student))
    right = temperature**2 * (np.exp(p) * (p - q)).sum(1).mean()
    got = distillation_loss(torch.tensor(student), torch.tensor(teacher), temperature)
    assert float(got) == pytest.approx(right, rel=1e-4, abs=1e-5)


def test_its_gradient_is_that_of_finite_differences() -> None:
    student = torch.tensor([[0.3, -1.0, 2.0], [1.0, 0.5, 0.0]], requires_grad=True)
    teacher = torch.tensor([[1.0, 0.0, 0.5], [0.2, 0.1, 2.0]])
    distillation_loss(student, teacher, 3.0).backward()
    assert student.grad is not None
    for i in range(2):
        for j in range(3):
            ends = []
            for sign in (1, -1):
                moved = student.detach().clone()
                moved[i, j] += sign * 1e-2
                ends.append(float(distillation_loss(moved, teacher, 3.0)))
            assert float(student.grad[i, j]) == pytest.approx((ends[0] - ends[1]) / 2e-2, abs=2e-3)


def test_a_regression_takes_the_mean_square() -> None:
    assert float(distillation_loss(torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0], [1.0]]))) == pytest.approx(2.5)


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"teacher's logits have shape \(2, 2\), the student's \(2, 3\)"):
        distillation_loss(torch.zeros(2, 3), torch.zeros(2, 2))


def taught(weight: float, labels: Any = None) -> dict[str, torch.Tensor]:
    model = tiny(dropout=0.0)
    masks = prune(model, ROWS, rate=2.0)
    train = DATA[0] if labels is None else [example | {"label": labels} for example in DATA[0]]
    teacher = tiny(dropout=0.0)
    retrain(model, TOKENIZER, (train, None), masks, settings(), teacher=Teacher(teacher, weight))
    return dict(model.state_dict())


def test_weight_0_is_plain_training_and_weight_1_ignores_the_labels() -> None:
    plain = tiny(dropout=0.0)
    masks = prune(plain, ROWS, rate=2.0)
    retrain(plain, TOKENIZER, (DATA[0], None), masks, settings())
    for name, weight in taught(0.0).items():
        torch.testing.assert_close(weight, plain.state_dict()[name])
    zeros, ones = taught(1.0, 0), taught(1.0, 1)
    for name, weight in zeros.items():
        assert torch.equal(weight, ones[name])
    assert any(not torch.equal(weight, plain.state_dict()[name]) for name, weight in zeros.items())


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_the_loss_of_hidden_states_by_hand(students: int, more: int, seed: int) -> None:
    rng, teachers = np.random.default_rng(seed), students + more - 1
    mask = rng.random((3, 5)) < 0.6
    mask[0, 0] = True
    student, teacher = rng.normal(size=(students, 3, 5, 4)), 2 * rng.normal(size=(teachers, 3, 5, 4))
    total = 0.0
    for layer in range(1, students + 1):
        taught = teacher[round(layer * teachers / students) - 1][mask]
        away = np.square(student[layer - 1][mask] - taught)
        total += away.mean() / taught.var() / students
    states = [[torch.tensor(layer) for layer in side] for side in (student, teacher)]
    got = hidden_loss(*states, torch.tensor(mask.astype(np.int64)))
    assert float(got) == pytest.approx(total, rel=1e-4)


def test_padding_counts_for_nothing_and_the_last_layer_learns_from_the_last() -> None:
    states = [torch.randn(2, 3, 4) for _ in range(6)]
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    moved = [layer + 5.0 * (1 - mask)[..., None] for layer in states]
    assert float(hidden_loss(moved, states, mask)) == 0
    assert float(hidden_loss([states[2], states[5]], states, mask)) == 0
    assert float(hidden_loss([states[5]], states, mask)) == 0


def test_the_whole_loss_is_the_sum_of_its_weighted_parts() -> None:
    student, teacher = tiny(dropout=0.0), tiny(dropout=0.0)
    with torch.no_grad():
        for weight in student.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    inputs = {"input_ids": torch.tensor([[1, 5, 9], [1, 7, 0]]), "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]])}
    outputs = student(**inputs, labels=torch.tensor([0, 1]), output_hidden_states=True)
    target = teacher(**inputs, output_hidden_states=True)
    right = (
        0.3 * outputs.loss
        + 0.7 * distillation_loss(outputs.logits, target.logits, 2.0)
        + 2.0 * hidden_loss(outputs.hidden_states[1:], target.hidden_states[1:], inputs["attention_mask"])
    )
    got = Teacher(teacher, 0.7, 2.0, hidden=2.0).loss(outputs.loss, outputs, inputs | {"labels": torch.tensor([0, 1])})
    torch.testing.assert_close(got, right)


def test_a_student_of_fewer_layers_is_taught_by_all() -> None:
    teacher, student = tiny(), tiny()
    keep_layers_(student, 1)
    before = copy.deepcopy(student.state_dict())
    report = fine_tune(student, TOKENIZER, DATA, settings(max_steps=8), teacher=Teacher(teacher, 0.0, hidden=3.0))
    assert report.loss is not None
    assert any(not torch.equal(weight, before[name]) for name, weight in student.state_dict().items())
    with pytest.raises(ValueError, match="teacher has 1 layers, the student 2"):
        fine_tune(teacher, TOKENIZER, DATA, settings(), teacher=Teacher(student, hidden=1.0))


def test_hidden_states_that_differ_in_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"hidden states have shape \(2, 4\), the student's \(2, 3\)"):
        hidden_loss([torch.zeros(1, 2, 3)], [torch.zeros(1, 2, 4)], torch.ones(1, 2))


def test_the_teacher_stays_as_it_is() -> None:
    model, dense = tiny(), tiny()
    fine_tune(dense, TOKENIZER, DATA, settings())
    before = copy.deepcopy(dense.state_dict())
    masks = prune(model, ROWS, rate=2.0)
    retrain(model, TOKENIZER, DATA, masks, settings(), teacher=Teacher(dense))
    for name, weight in dense.state_dict().items():
        assert torch.equal(weight, before[name])
    assert not dense.training
    assert all(parameter.grad is None for parameter in dense.parameters())


@pytest.mark.parametrize(
    ("weight", "temperature", "message"),
    [
        (1.5, 2.0, "^weight must be"),
        (-0.1, 2.0, "^weight"),
        (0.5, 0.0, "^temperature"),
        ("half", 2.0, "^weight"),
    ],
)
def test_what_cannot_be_meant_is_refused(weight: Any, temperature: float, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Teacher(nn.Linear(2, 2), weight, temperature)


def test_the_teachers_model_can_be_copied_and_trained_afterwards() -> None:
    dense = tiny(dropout=0.0)
    teacher = Teacher(dense)
    student = copy.deepcopy(dense)
    before = copy.deepcopy(student.state_dict())
    fine_tune(student, TOKENIZER, DATA, settings(), teacher=teacher)
    assert any(not torch.equal(weight, before[name]) for name, weight in student.state_dict().items())
    assert all(torch.equal(weight, before[name]) for name, weight in dense.state_dict().items())
    assert all(weight.grad is None for weight in dense.parameters())


def test_a_model_that_teaches_itself_and_one_that_cannot_learn_are_refused() -> None:
    model = tiny()
    with pytest.raises(ValueError, match=r"teacher must be another model.*Teacher\(copy.deepcopy\(model\)\) would do"):
        fine_tune(model, TOKENIZER, DATA, settings(), teacher=Teacher(model))
    model.requires_grad_(False)
    with pytest.raises(ValueError, match=r"all frozen: model.requires_grad_\(True\) first would do"):
        fine_tune(model, TOKENIZER, DATA, settings())
    wrong: Any = "minilm"
    with pytest.raises(TypeError, match=r"model must be a trained torch.nn.Module; got str"):
        Teacher(wrong)
