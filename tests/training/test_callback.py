"""Masks in a Trainer and in a loop of one's own: zeros to the last bit after every step, whatever the optimiser."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

import blockprune_lib as bp

from ..helpers.tiny_training import ROWS, examples, tiny


class Looks(TrainerCallback):
    """What stands in weights and gradients before and after each step of the optimiser."""

    def __init__(self, model: Any, masks: Any, clipped: float) -> None:
        self.model, self.masks, self.clipped, self.steps = model, masks, clipped, 0

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        gradients = {name: p.grad for name, p in self.model.named_parameters() if p.grad is not None}
        norm = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
        torch.testing.assert_close(float(norm), self.clipped, rtol=1e-3, atol=0)  # kept ones alone have the norm
        for name, mask in self.masks.items():
            assert not gradients[name][~mask].any()

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.steps += 1
        assert_held(self.model, self.masks)


def assert_held(model: Any, masks: Any) -> None:
    for name, mask in masks.items():
        bits = model.get_parameter(name).detach().view(torch.int32)
        assert not bits[~mask].any(), name
        assert (bits[mask] != 0).float().mean() > 0.99


def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    longest = max(len(row["input_ids"]) for row in rows)
    ids = torch.tensor([row["input_ids"] + [0] * (longest - len(row["input_ids"])) for row in rows])
    return {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": torch.tensor([r["label"] for r in rows])}


def arguments(folder: Any, **more: Any) -> TrainingArguments:
    chosen: dict[str, Any] = {
        "max_steps": 6, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "max_grad_norm": 1e-3,
        "learning_rate": 0.05, "weight_decay": 0.1, "report_to": [], "save_strategy": "no", "use_cpu": True,
        "remove_unused_columns": False, "disable_tqdm": True, "logging_strategy": "no",
    }  # fmt: skip
    return TrainingArguments(str(folder), **(chosen | more))


@pytest.mark.parametrize("optimizer", ["adamw_torch", "sgd", "adafactor"])
def test_a_trainer_of_ones_own_keeps_the_zeros(optimizer: str, tmp_path: Any) -> None:
    """With weight decay, momentum, clipping and two micro-batches a step; a weight that was moved is zeroed too."""
    model = tiny()
    masks = bp.prune(model, ROWS, rate=4.0)
    with torch.no_grad():
        model.get_parameter(next(iter(masks))).add_(1.0)
    more = {"optim_args": "momentum=0.9"} if optimizer == "sgd" else {}
    looks = Looks(model, masks, 1e-3)
    trainer = Trainer(
        model, arguments(tmp_path, optim=optimizer, **more), collate, examples(64),
        callbacks=[bp.MaskCallback(model, masks), looks],
    )  # fmt: skip
    trainer.train()
    assert looks.steps == 6
    assert_held(model, masks)
    assert not any(parameter._post_accumulate_grad_hooks for parameter in model.parameters())


def test_a_training_that_goes_on_from_a_checkpoint_keeps_them(tmp_path: Any) -> None:
    dense, data = tiny(), examples(64)
    Trainer(dense, arguments(tmp_path, save_strategy="steps", save_steps=2, max_steps=2), collate, data).train()
    model = tiny()
    masks = bp.prune(model, ROWS, rate=4.0)
    callback = bp.MaskCallback(model, masks)
    trainer = Trainer(model, arguments(tmp_path, max_steps=4), collate, data, callbacks=[callback])
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))  # whose weights are dense, and moments too
    assert trainer.state.global_step == 4
    assert_held(model, masks)


def test_another_model_than_the_trainers_is_refused(tmp_path: Any) -> None:
    model, masks = tiny(), bp.select_model(tiny(), ROWS, rate=4.0)
    trainer = Trainer(
        None,
        arguments(tmp_path),
        collate,
        examples(8),
        model_init=lambda: tiny(),
        callbacks=[bp.MaskCallback(model, masks)],
    )
    with pytest.raises(ValueError, match=r"model must be the one that the Trainer trains; 12 of 12 masked parameters"):
        trainer.train()


def test_a_loop_of_ones_own_keeps_the_zeros() -> None:
    """The lines of the README."""
    model = tiny()
    masks = bp.prune(model, ROWS, rate=4.0)
    held = bp.pruning.HeldMasks(model, masks)
    optimizer = torch.optim.AdamW(model.parameters(), 0.05, weight_decay=0.1)
    for start in range(0, 32, 8):
        model(**collate(examples(32)[start : start + 8])).loss.backward()
        held.mask_gradients_()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        held.mask_weights_()
        assert held.violations() == {}
    assert_held(model, masks)
