"""A warm-up leaves nothing for the first call to compile, changes nothing, and says what it did."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel, MPNetConfig, MPNetModel

import blockprune_lib as bp
from blockprune_lib.kernels import parallel
from blockprune_lib.nn import first_call
from blockprune_lib.nn.engine import CompiledForward

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 50}


def sparse(model, structure="block_column:16", **more):
    structure = bp.BlockStructure.parse(structure)
    bp.apply_masks_(model, bp.select_model(model, structure, 4.0))
    return bp.sparsify(model, structure, **more)


@pytest.fixture
def nothing_ready(monkeypatch):
    """As in a new process: no kernel is compiled yet; machine code on disk is found again."""
    monkeypatch.setattr(parallel, "_compiled", {})


@pytest.mark.parametrize("structure", ["block_column:16", "block_row:8", "tile:8x8", "irregular"])
@pytest.mark.parametrize("make", [lambda: BertModel(BertConfig(**SIZES)), lambda: MPNetModel(MPNetConfig(**SIZES))])
def test_the_first_call_finds_everything(nothing_ready, make, structure):
    model = sparse(make().eval(), structure)
    found = bp.warm_up(model)
    assert {*found.compiled, *found.loaded} == {"product_worker", "encoder_worker"}
    ready = parallel.ready()
    with torch.inference_mode():
        model(input_ids=torch.ones(2, 40, dtype=torch.long), attention_mask=torch.ones(2, 40, dtype=torch.long))
    assert model.encoder.forward.last == "compiled"
    model(input_ids=torch.ones(1, 7, dtype=torch.long))  # with gradients: layer by layer
    assert parallel.ready() == ready
    again = bp.warm_up(model)
    assert (again.compiled, again.loaded) == ((), ())
    assert "all was ready" in repr(again)


def test_training_needs_gradients_too(nothing_ready):
    model = sparse(nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32)))
    assert {*bp.warm_up(model).compiled, *bp.warm_up(model).loaded} <= {"product_worker"}
    bp.warm_up(model, training=True)
    ready = parallel.ready()
    assert {*ready} == {"product_worker", "gradient_worker"}
    model(torch.randn(50, 64)).sum().backward()
    assert parallel.ready() == ready


@pytest.mark.parametrize("training", [False, True])
def test_the_model_stays_as_it_is(training):
    model = sparse(BertModel(BertConfig(**SIZES)).train())
    model.encoder.layer[0].eval()
    model.encoder.layer[1].attention.self.query.values.requires_grad_(False)
    modes = [module.training for module in model.modules()]
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    bp.warm_up(model, training=training)
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_defaults_and_types(dtype):
    model = sparse(BertModel(BertConfig(**SIZES)).eval())
    torch.set_default_dtype(dtype)
    try:
        assert bp.warm_up(model, training=True).seconds > 0
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.inference_mode():
        model(input_ids=torch.ones(1, 5, dtype=torch.long))
    assert isinstance(model.encoder.forward, CompiledForward)
    assert float(bp.warm_up(model.to(dtype))) > 0


def test_what_it_says(monkeypatch, tmp_path):
    found = first_call.WarmUp(6.2, ("product_worker", "encoder_worker"), (), tmp_path, 64, 2)
    assert float(found) == 6.2
    assert repr(found).splitlines() == [
        "warm-up  6.20 s: 2 kernels compiled (product, encoder)",
        f"kept in  {tmp_path}",
        "threads  torch uses 64, cores to use 2: torch.set_num_threads(2) would do",
    ]
    nowhere = first_call.WarmUp(0.4, (), ("product_worker",), None, 1, 2)
    assert "1 kernel loaded from disk (product)" in repr(nowhere)
    assert "nowhere: each process compiles anew; NUMBA_CACHE_DIR may name a folder to write to" in repr(nowhere)
    monkeypatch.setattr(first_call, "cache_folder", lambda function: None)
    assert bp.warm_up(sparse(nn.Sequential(nn.Linear(32, 32)))).folder is None


@pytest.mark.parametrize(
    ("model", "error", "says"),
    [
        (nn.Linear(4, 4), ValueError, r"model Linear has no block-sparse layer: sparsify\(model, structure\)"),
        ("minilm", TypeError, "model must be a torch.nn.Module; got str"),
    ],
)
def test_what_cannot_be_warmed_up(model, error, says):
    with pytest.raises(error, match=says):
        bp.warm_up(model)


def test_more_threads_than_cores_finish():
    """As in a container with a quota below torch's threads."""
    code = (
        "import os, torch, blockprune_lib as bp\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "torch.set_num_threads(8)\n"
        "from tests.nn.test_first_call import BertConfig, BertModel, SIZES, sparse\n"
        "model = sparse(BertModel(BertConfig(**SIZES)).eval())\n"
        "said = repr(bp.warm_up(model, training=True))\n"
        "assert 'torch uses 8, cores to use 1: torch.set_num_threads(1) would do' in said, said\n"
        "x = torch.ones(4, 40, dtype=torch.long)\n"
        "with torch.inference_mode(): many = model(input_ids=x)[0]\n"
        "torch.set_num_threads(1)\n"
        "with torch.inference_mode(): assert torch.equal(model(input_ids=x)[0], many)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
