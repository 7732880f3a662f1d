"""A whole sparsified model in torch's graphs: compiled, exported, traced, written to ONNX; trained with checkpoints."""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    checkpoint_sequential,
    create_selective_checkpoint_contexts,
)
from transformers import BertConfig, BertForSequenceClassification

import blockprune_lib as bp

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")

IDS, OTHER = torch.arange(3, 31).view(2, 14), torch.arange(30, 2, -1).view(2, 14)
MASK = torch.ones_like(IDS)
MASK[1, 9:] = 0
LABELS = torch.tensor([0, 1])


@pytest.fixture(autouse=True)
def _compilers_start_afresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def bert(text: str = "block_column:16", **more: Any) -> Any:
    torch.manual_seed(0)
    sides = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "use_cache": False}
    config = BertConfig(vocab_size=40, max_position_embeddings=20, initializer_range=0.3, **sides, **still, **more)
    model, structure = BertForSequenceClassification(config).eval(), bp.BlockStructure.parse(text)
    bp.prune(model, structure, 2.0)
    return bp.sparsify(model, structure, keep_dense_above=1.0)


class Logits(nn.Module):
    """Two inputs and one output by position, as exporters like it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.model(ids, attention_mask=mask).logits


def near(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def gradients(model: Any, loss: Callable[[], Tensor]) -> list[Tensor]:
    model.zero_grad()
    loss().backward()
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def test_one_graph_gives_the_same_in_evaluation_and_in_training() -> None:
    model = bert()
    twin = copy.deepcopy(model)
    compiled = torch.compile(twin, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        near(compiled(IDS, attention_mask=MASK).logits, model(IDS, attention_mask=MASK).logits)
    assert model.bert.encoder.forward.last == "compiled"  # the engine, without torch.compile
    assert twin.bert.encoder.forward.last == "not called yet"  # the layers, with it
    model.train(), twin.train()
    wanted = gradients(model, lambda: model(IDS, labels=LABELS).loss)
    found = gradients(twin, lambda: compiled(IDS, labels=LABELS).loss)
    for one, other in zip(found, wanted, strict=True):
        near(one, other)


@pytest.mark.filterwarnings("ignore:.*side effects:UserWarning")  # transformers collects outputs on the way
@pytest.mark.parametrize("strict", [False, True])
def test_exported_it_runs_on_another_input(strict: bool) -> None:
    model = Logits(bert()).eval()
    with torch.no_grad():
        program = torch.export.export(model, (IDS, MASK), strict=strict)
        near(program.module()(OTHER, MASK), model(OTHER, MASK))
    products = [node for node in program.graph.nodes if node.target is torch.ops.blockprune.linear.default]
    assert len(products) == 12


@pytest.mark.parametrize("text", ["block_column:16", "block_row:8"])
def test_traced_it_runs_on_another_input(text: str) -> None:
    model = Logits(bert(text)).eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of transformers' own comparisons
        traced = torch.jit.trace(model, (IDS, MASK))
        near(traced(OTHER, MASK), model(OTHER, MASK))


def test_a_packed_model_in_onnx_runtime(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model, path = Logits(bert("tile:8x4")).eval(), str(tmp_path / "model.onnx")
    with torch.no_grad(), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")  # the user's: each place says it once
        torch.onnx.export(model, (IDS, MASK), path, input_names=["ids", "mask"], dynamo=False)
        wanted = model(OTHER, MASK)
    assert sum("with dense weights" in str(warning.message) for warning in said) == 1
    found = onnxruntime.InferenceSession(path).run(None, {"ids": OTHER.numpy(), "mask": MASK.numpy()})[0]
    near(torch.from_numpy(found), wanted)


# --- checkpoints: what is thrown away in the forward pass is computed again, from the first step on


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable:FutureWarning")  # the name in every version
@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("cast", [False, True])
def test_checkpoints_of_transformers_from_the_first_step_on(reentrant: bool, cast: bool) -> None:
    fresh, plain = bert("block_row:8").train(), bert("block_row:8").train()
    fresh.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})

    def steps(model: Any) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=cast):
            return model(IDS, attention_mask=MASK, labels=LABELS).loss + model(OTHER, labels=LABELS).loss

    for one, other in zip(*(gradients(m, functools.partial(steps, m)) for m in (fresh, plain)), strict=True):
        near(one, other)


def stack() -> nn.Sequential:
    structure, layers = bp.BlockStructure.block_column(8), []
    for number in range(3):
        layers += [bp.BlockSparseLinear(24, 24, structure, activation="gelu" if number == 1 else None), nn.ReLU()]
    return nn.Sequential(*layers)


def only_products(context: Any, operator: Any, *arguments: Any, **more: Any) -> CheckpointPolicy:
    product = operator is torch.ops.blockprune.linear.default
    return CheckpointPolicy.MUST_SAVE if product else CheckpointPolicy.MUST_RECOMPUTE


WAYS: dict[str, Callable[[nn.Sequential, Tensor], Tensor]] = {
    "in segments": lambda m, x: checkpoint_sequential(m, 2, x, use_reentrant=False),
    "in segments, reentrant": lambda m, x: checkpoint_sequential(m, 3, x, use_reentrant=True),
    "one in another": lambda m, x: checkpoint(
        lambda x: m[3:](checkpoint(m[:3], x, use_reentrant=False)), x, use_reentrant=False
    ),
    "products kept, the rest computed again": lambda m, x: checkpoint(
        m, x, use_reentrant=False,
        context_fn=functools.partial(create_selective_checkpoint_contexts, only_products),
    ),
    "compiled": lambda m, x: torch.compile(
        lambda x: checkpoint(m, x, use_reentrant=False), fullgraph=True, backend="aot_eager"
    )(x),
    "without the first run's early stop": lambda m, x: _to_the_end(m, x),
}  # fmt: skip


def _to_the_end(model: nn.Sequential, x: Tensor) -> Tensor:
    with torch.utils.checkpoint.set_checkpoint_early_stop(False):
        return checkpoint(model, x, use_reentrant=False)


@pytest.mark.parametrize("way", WAYS)
def test_every_kind_of_checkpoint_on_fresh_layers(way: str) -> None:
    fresh = stack()
    plain, x = copy.deepcopy(fresh), torch.randn(5, 24)
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    found = gradients(fresh, lambda: WAYS[way](fresh, one).square().sum())
    wanted = gradients(plain, lambda: plain(other).square().sum())
    for ours, theirs in zip([*found, one.grad], [*wanted, other.grad], strict=True):
        near(ours, theirs)


def test_what_is_saved_may_wait_elsewhere() -> None:
    fresh = stack()
    plain, x = copy.deepcopy(fresh), torch.randn(5, 24)
    saved: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t.double(), Tensor.float):
        loss = fresh(x).square().sum()
    found = gradients(fresh, lambda: loss)
    for one, other in zip(found, gradients(plain, lambda: plain(x).square().sum()), strict=True):
        near(one, other)
    assert len(saved) >= 6


def test_gradients_add_up_over_steps_in_mixed_precision() -> None:
    summed, whole = bert().train(), bert().train()
    with torch.autocast("cpu", torch.bfloat16):
        for row in range(2):
            (summed(IDS[row : row + 1], labels=LABELS[row : row + 1]).loss / 2).backward()
        whole(IDS, labels=LABELS).loss.backward()
    for one, other in zip(summed.parameters(), whole.parameters(), strict=True):
        if other.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, rtol=0.1, atol=0.05 * float(other.grad.abs().max()) + 1e-6)
