"""A teacher's answers that are remembered are those that it gives, whatever batch asks."""

from typing import Any

import pytest
import torch

from blockprune_lib.training import remembered
from blockprune_lib.training.distillation import Teacher
from blockprune_lib.training.evaluation import prepare
from blockprune_lib.training.stages import fine_tune

from ..helpers.tiny_training import DATA, TOKENIZER, settings, tiny

CPU = torch.device("cpu")


@pytest.mark.parametrize("hidden", [0.0, 2.0])
def test_they_are_what_the_teacher_says(hidden: float) -> None:
    teacher, data = Teacher(tiny(), hidden=hidden), prepare(tiny(), TOKENIZER, DATA)
    known = remembered.answers(teacher.model, data.rows(), data.collate, teacher.asks(), CPU, bf16=False)
    assert known is not None
    for chosen in ([3], [0, 17, 4, 95], list(range(20, 52))):
        inputs = data.collate([data.rows()[i] for i in chosen])
        found = known.to(inputs)
        assert found is not None
        logits, states = teacher._answer(inputs)
        torch.testing.assert_close(found[0], logits)
        assert len(found[1]) == len(states) == (2 if hidden else 0)
        for got, right in zip(found[1], states, strict=True):
            torch.testing.assert_close(got, right)


def test_an_unknown_example_is_not_guessed() -> None:
    data = prepare(tiny(), TOKENIZER, DATA)
    teacher = Teacher(tiny(), hidden=1.0)
    known = remembered.answers(teacher.model, data.rows()[:10], data.collate, teacher.asks(), CPU, bf16=False)
    assert known is not None
    assert known.to(data.collate(data.rows()[8:12])) is None


def test_nothing_is_remembered_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "LIMIT", 1000)
    data = prepare(tiny(), TOKENIZER, DATA)
    ask: dict[str, Any] = {"output_hidden_states": True}
    assert remembered.answers(tiny(), data.rows(), data.collate, ask, CPU, bf16=False) is None
    assert remembered.answers(tiny(), data.rows(), data.collate, {}, CPU, bf16=False) is not None


def test_a_training_comes_out_the_same_with_and_without(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = []
    for limit in (0, remembered.LIMIT):
        monkeypatch.setattr(remembered, "LIMIT", limit)
        model = tiny(dropout=0.0)
        teacher = Teacher(tiny(dropout=0.0), 0.7, hidden=2.0)
        fine_tune(model, TOKENIZER, DATA, settings(max_steps=-1, epochs=3), teacher=teacher)
        weights.append(model.state_dict())
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, rtol=1e-3, atol=1e-4)
