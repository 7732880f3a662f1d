"""LoRA by PEFT on block-sparse layers."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from blockprune_lib.nn import load, save, sparsify
from blockprune_lib.pruning import BlockStructure, apply_masks_, select_model

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*is_gradient_checkpointing:FutureWarning", "ignore:.*too dense to be faster:UserWarning"
)
COLUMN = BlockStructure.block_column(8)
SMALL = BertConfig(
    vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
    max_position_embeddings=12, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
)  # fmt: skip
IDS = torch.arange(12).reshape(2, 6)


def pruned() -> Any:
    model = BertForSequenceClassification(SMALL).eval()
    apply_masks_(model, select_model(model, COLUMN, rate=3.0))
    return model


def lora(model: Any, targets: tuple[str, ...] = ("query", "value"), **more: Any) -> Any:
    torch.manual_seed(1)
    settings: dict[str, Any] = {"r": 2, "target_modules": list(targets), "init_lora_weights": False} | more
    return peft.get_peft_model(model, peft.LoraConfig(**settings)).eval()


def answer(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


def test_an_adapter_beside_sparse_layers_computes_and_trains_as_beside_dense_ones(tmp_path: Path) -> None:
    dense = pruned()
    sparse = sparsify(copy.deepcopy(dense), COLUMN)
    save(sparse, tmp_path / "base")
    beside_dense, beside_sparse = lora(dense), lora(sparse)
    torch.testing.assert_close(answer(beside_sparse), answer(beside_dense), rtol=1e-4, atol=1e-5)
    for model in (beside_dense, beside_sparse):
        model(input_ids=IDS, labels=torch.tensor([0, 1])).loss.backward()
    gradients = {name: weight.grad for name, weight in beside_dense.named_parameters() if "lora_" in name}
    for name, weight in beside_sparse.named_parameters():
        assert weight.requires_grad == ("lora_" in name)
        if weight.requires_grad:
            torch.testing.assert_close(weight.grad, gradients[name], rtol=1e-3, atol=1e-6)
    beside_sparse.save_pretrained(tmp_path / "adapter")
    again = peft.PeftModel.from_pretrained(load(tmp_path / "base"), tmp_path / "adapter").eval()
    torch.testing.assert_close(answer(again), answer(beside_sparse))


def test_what_cannot_be_adapted_or_merged_is_refused() -> None:
    with pytest.raises(ValueError, match=r"applies its gelu itself, .* sparsify\(..., fuse=False\) would do"):
        lora(sparsify(pruned(), COLUMN), ("intermediate.dense",))
    lora(sparsify(pruned(), COLUMN, fuse=False), ("intermediate.dense",))
    with pytest.raises(ValueError, match=r"init_lora_weights must be one of .*; got 'pissa'"):
        lora(sparsify(pruned(), COLUMN), init_lora_weights="pissa")
    with pytest.raises(ValueError, match="an adapter cannot be merged into a BlockSparseLinear"):
        lora(sparsify(pruned(), COLUMN)).merge_and_unload()


@pytest.mark.filterwarnings("ignore::blockprune_lib.pruning.PassedOverWarning")
def test_adapters_first_are_merged_before_pruning() -> None:
    model = lora(pruned())
    with pytest.raises(ValueError, match=r"model = model.merge_and_unload\(\) first"):
        sparsify(model, COLUMN)
    merged = model.merge_and_unload()
    apply_masks_(merged, select_model(merged, COLUMN, rate=3.0))
    expected = answer(merged)
    torch.testing.assert_close(answer(sparsify(merged, COLUMN)), expected, rtol=1e-4, atol=1e-5)
