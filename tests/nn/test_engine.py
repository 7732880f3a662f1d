"""The compiled encoder against the dense model in float64; and when it must not be taken."""

from __future__ import annotations

import contextlib
import copy
import pickle
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

import blockprune_lib as bp
from blockprune_lib.nn.engine import CompiledForward, visible
from blockprune_lib.pruning.families import layer_paths

from ..helpers.references import structure_texts

TEXTS = (*structure_texts((4, 3)), "block_column:16", "block_row:16", "tile:8x4")
SMALL = {"vocab_size": 60, "num_hidden_layers": 2, "max_position_embeddings": 600}


def family(name: str, width: int = 48, heads: int = 4, inner: int = 80, activation: str = "gelu") -> Any:
    """A fresh model of a family with weights of a size that tells mistakes."""
    sides = {"hidden_size": width, "num_attention_heads": heads, "intermediate_size": inner, "hidden_act": activation}
    if name == "DistilBert":
        sides = {"dim": width, "n_heads": heads, "hidden_dim": inner, "activation": activation}
    elif name == "Electra":
        sides["embedding_size"] = 32
    common = {key: value for key, value in SMALL.items() if name != "DistilBert" or key != "num_hidden_layers"}
    if name == "DistilBert":
        common["n_layers"] = 2
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**common, **sides)).eval()
    for parameter in model.parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, 0, 0.3)
        else:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return model


def encoder_of(model: Any) -> Any:
    return next(module for module in model.modules() if isinstance(vars(module).get("forward"), CompiledForward))


def both(name: str, text: str, precision: str = "float32", **sides: Any) -> tuple[Any, Any]:
    """The pruned model in float64, and block-sparse."""
    model, structure = family(name, **sides), bp.BlockStructure.parse(text)
    bp.prune(model, structure, 3.0)
    return copy.deepcopy(model).double(), bp.sparsify(model, structure, precision=precision, keep_dense_above=1.0)


def states(model: Any, ids: Any, mask: Any = None) -> Any:
    with torch.inference_mode():
        return model(ids, attention_mask=mask).last_hidden_state


def close(got: Any, wanted: Any, mask: Any = None) -> None:
    shown = torch.ones(got.shape[:2], dtype=torch.bool) if mask is None else mask.bool()
    largest = float(wanted[shown].abs().max()) if bool(shown.any()) else 1.0
    assert float((got.double() - wanted)[shown].abs().max() if bool(shown.any()) else 0) <= 1e-5 * largest
    assert bool((got[~shown] == 0).all())


FAMILIES = ("Bert", "Roberta", "XLMRoberta", "Camembert", "DistilBert", "Electra", "MPNet")


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("text", ["block_column:4", "block_row:16"])
def test_every_family(name, text):
    exact, sparse = both(name, text)
    ids, mask = torch.randint(3, 60, (3, 21)), torch.ones(3, 21, dtype=torch.long)
    mask[1, 5:] = mask[2, 20:] = 0
    for given_mask in (None, mask):
        close(states(sparse, ids, given_mask), states(exact, ids, given_mask), given_mask)
        assert encoder_of(sparse).forward.last == "compiled"


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("activation", ["gelu", "relu", "silu"])
def test_every_structure_and_activation(text, activation):
    exact, sparse = both("Bert", text, activation=activation)
    ids = torch.randint(3, 60, (2, 19))
    close(states(sparse, ids), states(exact, ids))
    assert encoder_of(sparse).forward.last == "compiled"


@settings(max_examples=25)
@given(
    heads=st.sampled_from([1, 2, 3]), head=st.sampled_from([2, 5, 16]), inner=st.integers(20, 90),
    text=st.sampled_from(["irregular", "block_column:4", "block_row:2", "column"]),
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=6), seed=st.integers(0, 9),
)  # fmt: skip
def test_any_sides_and_any_mask(heads, head, inner, text, lengths, seed):
    exact, sparse = both("Bert", text, width=heads * head, heads=heads, inner=inner)
    generator = torch.Generator().manual_seed(seed)
    tokens = max(1, *lengths)
    ids = torch.randint(3, 60, (len(lengths), tokens), generator=generator)
    mask = torch.zeros(len(lengths), tokens, dtype=torch.long)
    for row, length in enumerate(lengths):  # anywhere behind the first, holes too
        mask[row, 1 + torch.randperm(tokens - 1, generator=generator)[:length]] = 1
    mask[:, 0] = 1
    close(states(sparse, ids, mask), states(exact, ids, mask), mask)
    assert encoder_of(sparse).forward.last == "compiled"


HEADS = {"Bert": "pooler", "Roberta": "classifier", "XLMRoberta": "classifier", "Camembert": "classifier",
         "DistilBert": "pre_classifier", "Electra": "classifier", "MPNet": "classifier"}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_a_head_reads_the_first_token_wherever_the_text_lies(name):
    """On the left, with a hole there, and in a row that is hidden throughout, heads read what the layers make of it."""
    base = family(name)
    torch.manual_seed(0)
    dense = getattr(transformers, f"{name}ForSequenceClassification")(base.config).eval()
    for parameter in dense.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    bp.prune(dense, bp.BlockStructure.block_column(4), 3.0)
    sparse = bp.sparsify(copy.deepcopy(dense), bp.BlockStructure.block_column(4), keep_dense_above=1.0)
    ids, mask = torch.randint(3, 60, (4, 12)), torch.ones(4, 12, dtype=torch.long)
    mask[1, :5] = mask[2, 0] = mask[3] = 0
    last = []
    for shown in (mask, mask[:2], mask[2:3], mask[3:], mask.flip(1)[:3]):
        few = ids[: len(shown)]
        with torch.inference_mode():
            found, wanted = (model(few, attention_mask=shown).logits for model in (sparse, dense))
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)
        last.append(encoder_of(sparse).forward.last)
    assert all("hides the first token" in one for one in last[:4])
    assert last[4] == "compiled" or name == "MPNet"


def test_without_tokens_it_says_what_the_dense_model_says():
    exact, sparse = both("Bert", "block_column:4")
    for model, hidden in ((sparse, torch.empty(2, 0, 48)), (exact, torch.empty(2, 0, 48).double())):
        with torch.inference_mode(), pytest.raises(RuntimeError, match="reshape tensor of 0 elements"):
            model.encoder(hidden)
    with torch.inference_mode():
        assert sparse.encoder(torch.empty(0, 5, 48)).last_hidden_state.shape == (0, 5, 48)


@pytest.mark.parametrize(("batch", "tokens"), [(1, 1), (1, 512), (40, 9), (3, 300)])
def test_few_and_many_tokens(batch, tokens):
    exact, sparse = both("Bert", "block_column:16")
    ids = torch.randint(3, 60, (batch, tokens))
    close(states(sparse, ids), states(exact, ids))


def test_nan_in_one_sequence_stays_in_it():
    _, sparse = both("Bert", "block_column:4")
    states_in = torch.randn(3, 20, 48)
    with torch.inference_mode():
        clean = sparse.encoder(states_in).last_hidden_state
        states_in[1, 3] = torch.nan
        found = sparse.encoder(states_in).last_hidden_state
    assert sparse.encoder.forward.last == "compiled"
    assert torch.equal(found[[0, 2]], clean[[0, 2]])
    assert bool(found[1].isnan().any())


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_and_neighbours_do_not_change_a_bit(threads):
    _, sparse = both("Bert", "block_row:16")
    ids = torch.randint(3, 60, (4, 30))
    with bp.threads(1):
        alone = states(sparse, ids)
    with bp.threads(threads):
        found: list[Any] = []
        workers = [threading.Thread(target=lambda: found.append(states(sparse, ids))) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert all(torch.equal(one, alone) for one in found)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_default_type_changes_nothing(dtype):
    _, sparse = both("MPNet", "block_column:4")
    ids = torch.randint(3, 60, (2, 17))
    wanted = states(sparse, ids)
    fresh = copy.deepcopy(sparse)
    torch.set_default_dtype(dtype)
    try:
        found = states(fresh, ids)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, wanted)


WAYS = {
    "training": (lambda m: m.train(), torch.no_grad, {}, "training"),
    "gradients": (lambda m: m, contextlib.nullcontext, {}, "gradients"),
    "attentions": (lambda m: m, torch.no_grad, {"output_attentions": True}, None),
    "hidden states": (lambda m: m, torch.no_grad, {"output_hidden_states": True}, None),
    "a hook": (
        lambda m: m.encoder.layer[0].output.dense.register_forward_hook(lambda *_: None),
        torch.no_grad, {}, "hooks",
    ),
    "float64": (lambda m: m.double(), torch.no_grad, {}, "float32"),
    "a mode that watches": (lambda m: m, lambda: FlopCounterMode(display=False), {}, "mode"),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_layer_by_layer_where_the_compiled_call_cannot_tell(way):
    change, context, asked, why = WAYS[way]
    _, sparse = both("Bert", "block_column:4")
    sparse.config._attn_implementation = "eager"
    change(sparse)
    with context(), torch.no_grad() if why == "mode" else contextlib.nullcontext():
        result = sparse(torch.randint(3, 60, (1, 9)), **asked)
    assert sparse.encoder.forward.last != "compiled"
    assert why is None or why in sparse.encoder.forward.last
    for name in asked:
        assert len(result[name.removeprefix("output_")]) >= 2


def test_gradients_flow_as_before():
    exact, sparse = both("Bert", "block_column:4")
    ids = torch.randint(3, 60, (2, 9))
    sparse(ids).last_hidden_state.square().sum().backward()
    exact(ids).last_hidden_state.square().sum().backward()
    wanted = exact.encoder.layer[0].attention.self.query.bias.grad
    torch.testing.assert_close(
        sparse.encoder.layer[0].attention.self.query.bias.grad.double(), wanted, rtol=1e-3, atol=1e-3
    )


def test_a_mask_that_is_not_padding_goes_through_the_layers():
    _, sparse = both("Bert", "block_column:4")
    causal = torch.tril(torch.ones(1, 1, 9, 9, dtype=torch.bool))
    with torch.inference_mode():
        sparse.encoder(torch.randn(1, 9, 48), attention_mask=causal)
    assert sparse.encoder.forward.last == "the mask is not one of padding"


@pytest.mark.parametrize("name", FAMILIES)
def test_an_activation_that_is_put_in_later_takes_the_place_of_the_fused_one(name):
    """After a call and before the first, compiled, layer by layer, and made dense again."""
    for early in (True, False):
        exact, sparse = both(name, "block_column:4")
        ids = torch.randint(3, 60, (2, 9))
        if not early:
            close(states(sparse, ids), states(exact, ids))
        for model in (exact, sparse):
            encoder = next(m for m in model.modules() if layer_paths(m))
            paths = layer_paths(encoder)
            for layer in encoder.layer:
                layer.set_submodule(paths.activation, torch.nn.ReLU())
        back = bp.densify(copy.deepcopy(sparse))
        wanted = states(exact, ids)
        close(states(sparse, ids), wanted)
        assert encoder_of(sparse).forward.last == "compiled"
        close(sparse(ids).last_hidden_state.detach(), wanted)
        close(states(back, ids), wanted)


def test_a_module_that_is_replaced_is_seen():
    exact, sparse = both("Bert", "block_column:4")
    ids = torch.randint(3, 60, (2, 9))
    states(sparse, ids)
    other = torch.nn.Linear(80, 48)
    sparse.encoder.layer[1].output.dense, exact.encoder.layer[1].output.dense = other, copy.deepcopy(other).double()
    close(states(sparse, ids), states(exact, ids))
    sparse.encoder.layer, exact.encoder.layer = sparse.encoder.layer[:1], exact.encoder.layer[:1]
    close(states(sparse, ids), states(exact, ids))
    assert sparse.encoder.forward.last == "compiled"


def test_weights_that_change_are_read_again():
    exact, sparse = both("Bert", "block_column:4")
    ids = torch.randint(3, 60, (1, 9))
    states(sparse, ids)
    with torch.no_grad():
        sparse.encoder.layer[0].output.dense.bias.add_(1)
        exact.encoder.layer[0].output.dense.bias.add_(1)
        sparse.encoder.layer[1].output.LayerNorm.weight.mul_(2)
        exact.encoder.layer[1].output.LayerNorm.weight.mul_(2)
    close(states(sparse, ids), states(exact, ids))


UNCOUNTED = {
    "data": lambda p: p.data.mul_(1.5),
    "numpy": lambda p: np.multiply(p.detach().numpy(), 1.5, out=p.detach().numpy()),
    "another tensor": lambda p: setattr(p, "data", p.data * 1.5),
}


@pytest.mark.parametrize("way", UNCOUNTED)
@pytest.mark.parametrize("text", TEXTS)
def test_writes_that_torch_does_not_count_are_seen(text, way):
    """As averages of weights and old optimisers write; some structures are walked in a copy."""
    exact, sparse = both("Bert", text)
    ids = torch.randint(3, 60, (1, 9))
    close(states(sparse, ids), states(exact, ids))
    for model in (sparse, exact):
        for parameter in model.encoder.parameters():
            UNCOUNTED[way](parameter)
    close(states(sparse, ids), states(exact, ids))
    assert sparse.encoder.forward.last == "compiled"


@pytest.mark.parametrize("way", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_is_its_own(way):
    _, sparse = both("Bert", "block_column:4")
    ids = torch.randint(3, 60, (1, 9))
    wanted = states(sparse, ids)
    twin = way(sparse)
    with torch.no_grad():
        sparse.encoder.layer[0].output.dense.bias.add_(1)
        sparse.embeddings.word_embeddings.weight.add_(1)
    assert torch.equal(states(twin, ids), wanted)
    assert (twin.encoder.forward.last, twin.forward.last) == ("compiled", "compiled")
    assert twin.encoder.forward.encoder is twin.encoder
    assert twin.forward.model is twin


def test_saved_and_loaded_it_is_compiled_again(tmp_path):
    _, sparse = both("Bert", "block_column:4")
    ids = torch.randint(3, 60, (2, 9))
    bp.save(sparse, tmp_path / "m")
    twin = bp.load(tmp_path / "m")
    assert torch.equal(states(twin, ids), states(sparse, ids))
    assert twin.encoder.forward.last == "compiled"


def test_every_module_hooked_at_once_is_seen():
    _, sparse = both("Bert", "block_column:4")
    handle = torch.nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        states(sparse, torch.randint(3, 60, (1, 5)))
    finally:
        handle.remove()
    assert sparse.encoder.forward.last == "every module has hooks"


def test_another_default_device_changes_nothing():
    _, sparse = both("Bert", "block_column:4")
    with torch.device("meta"), torch.inference_mode():
        found = sparse.encoder(torch.ones(1, 5, 48, device="cpu")).last_hidden_state
    assert (sparse.encoder.forward.last, found.device.type) == ("compiled", "cpu")


def test_masks_that_say_more_than_padding_are_told_apart():
    shown = torch.tensor([[True, False, True]])
    added = torch.where(shown, 0.0, torch.finfo(torch.float32).min)[:, None, None]
    np.testing.assert_array_equal(visible(added, 1, 3), shown)
    np.testing.assert_array_equal(visible(shown[:, None, None].expand(1, 1, 3, 3), 2, 3), shown.expand(2, 3))
    for wrong in (added * 1e-39, torch.tensor([[0.5, 1.0, 0.0]]), torch.ones(1, 2, 3, 3), torch.ones(1, 4), "mask"):
        assert visible(wrong, 1, 3) is None


def test_where_no_matrix_is_named_the_model_stays_as_it_is():
    """As with the structures of a budget that is loose enough: nothing is cut."""
    model = family("Bert")
    exact, ids = copy.deepcopy(model).double(), torch.randint(3, 60, (2, 9))
    close(states(bp.sparsify(model, {}), ids), states(exact, ids))
    assert not any(isinstance(module, bp.BlockSparseLinear) for module in model.modules())


@pytest.mark.parametrize("asked", ["output_hidden_states", "output_attentions"])
@pytest.mark.parametrize("name", ["Bert", "DistilBert", "MPNet"])
def test_a_model_once_asked_for_hidden_states_or_attentions_runs_as_one_call_again(name, asked):
    exact, sparse = both(name, "block_column:4")
    sparse.config._attn_implementation = exact.config._attn_implementation = "eager"
    ids = torch.randint(3, 60, (2, 7))
    with torch.inference_mode():
        recorded = sparse(ids, **{asked: True})
        assert encoder_of(sparse).forward.last != "compiled"
        found = sparse(ids).last_hidden_state
        assert encoder_of(sparse).forward.last == "compiled"
        torch.testing.assert_close(found.double(), exact(ids).last_hidden_state, rtol=1e-3, atol=1e-3)
        by_states = sparse(inputs_embeds=sparse.get_input_embeddings()(ids)).last_hidden_state
        assert encoder_of(sparse).forward.last == "compiled"
        torch.testing.assert_close(by_states, found, rtol=1e-3, atol=1e-3)
        key = asked.removeprefix("output_")
        for once, again in zip(recorded[key], sparse(ids, **{asked: True})[key], strict=True):
            assert torch.equal(once, again)
        sparse.config.output_hidden_states = True
        assert len(sparse(ids).hidden_states) == 3


def test_a_hook_beside_those_of_transformers_is_still_called():
    _, sparse = both("Bert", "block_column:4")
    calls: list[int] = []
    ids = torch.randint(3, 60, (2, 7))
    with torch.inference_mode():
        sparse(ids, output_hidden_states=True)
        sparse.encoder.layer[0].register_forward_hook(lambda *_: calls.append(1))
        sparse(ids)
    assert (sparse.encoder.forward.last, calls) == ("an inner module has hooks", [1])


def test_a_student_that_learned_from_hidden_states_runs_as_one_call():
    exact, _ = both("Bert", "block_column:4")
    student = exact.float()
    student(torch.randint(3, 60, (2, 7)), output_hidden_states=True).last_hidden_state.sum().backward()
    sparse = bp.sparsify(copy.deepcopy(student), bp.BlockStructure.block_column(4))
    states(sparse, torch.randint(3, 60, (2, 7)))
    assert sparse.encoder.forward.last == "compiled"


class Half(torch.nn.Module):
    """Halves what the module inside it gives."""

    def __init__(self, inside: Any) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, *arguments: Any, **more: Any) -> Any:
        found = self.inside(*arguments, **more)
        return found / 2 if isinstance(found, torch.Tensor) else (found[0] / 2, *found[1:])


def patch(module: Any) -> None:
    own = module.forward
    module.forward = lambda *arguments, **more: Half.forward(SimpleNamespace(inside=own), *arguments, **more)  # type: ignore[arg-type]


REPLACED = (
    "encoder.layer.0", "encoder.layer.0.attention", "encoder.layer.1.attention.self", "encoder.layer.0.output",
    "encoder.layer.1.intermediate", "encoder.layer.0.output.LayerNorm", "encoder.layer.1.output.dropout",
    "encoder.layer.1.attention.self.query", "embeddings.word_embeddings", "embeddings.dropout",
)  # fmt: skip


@pytest.mark.parametrize("path", REPLACED)
def test_a_wrapped_or_patched_module_is_run(path):
    ids = torch.randint(3, 60, (2, 9))
    for how in ("wrapped", "patched"):
        exact, sparse = both("Bert", "block_column:4")
        before = states(sparse, ids)
        assert sparse.forward.last == "compiled"
        for model in (exact, sparse):
            if how == "patched":
                patch(model.get_submodule(path))
            else:
                model.set_submodule(path, Half(model.get_submodule(path)))
        close(states(sparse, ids), states(exact, ids))
        assert sparse.forward.last != "compiled"
        assert float((states(sparse, ids) - before).abs().max()) > 1e-3
        if how == "wrapped":
            assert bp.warm_up(sparse).seconds > 0
            close(states(bp.densify(sparse), ids), states(exact, ids))


@pytest.mark.parametrize("what", ["a plain module", "another scale", "causal"])
def test_attention_and_norms_of_another_kind_go_through_the_layers(what):
    model = family("Bert")
    for layer in model.encoder.layer:
        if what == "a plain module":
            layer.output.LayerNorm = torch.nn.Identity()
        elif what == "another scale":
            layer.attention.self.scaling = 0.9
        else:
            layer.attention.self.is_causal = True
    structure = bp.BlockStructure.block_column(4)
    bp.prune(model, structure, 3.0)
    exact, sparse = copy.deepcopy(model).double(), bp.sparsify(model, structure, keep_dense_above=1.0)
    ids = torch.randint(3, 60, (2, 9))
    close(states(sparse, ids), states(exact, ids))
    assert encoder_of(sparse).forward.last != "compiled"


@pytest.mark.parametrize("way", ["sparsify", "densify", "load", "warm_up"])
def test_made_in_inference_mode_it_can_be_trained(way, tmp_path):
    _, model = both("Bert", "block_column:4")
    if way == "sparsify":
        model = bp.densify(model)
    if way == "load":
        bp.save(model, tmp_path / "model")
    with torch.inference_mode():
        if way == "sparsify":
            model = bp.sparsify(model, bp.BlockStructure.block_column(4), keep_dense_above=1.0)
        elif way == "densify":
            bp.densify(model)
        elif way == "load":
            model = bp.load(tmp_path / "model")
        else:
            bp.warm_up(model, training=True)
    model.train()(torch.randint(3, 60, (2, 9))).last_hidden_state.sum().backward()
    assert not any(parameter.is_inference() for parameter in model.parameters())


CHANGES = {
    "how scores are scaled": lambda attention, norm: setattr(attention, "scaling", 0.5),
    "the size of a head": lambda attention, norm: setattr(attention, "attention_head_size", 24),
    "what a norm adds": lambda attention, norm: setattr(norm, "eps", 0.3),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("early", [True, False])
def test_numbers_that_are_no_tensors_are_read_again(change, early):
    exact, sparse = both("Bert", "block_column:4")
    ids = torch.randint(3, 60, (2, 9))
    if not early:
        close(states(sparse, ids), states(exact, ids))
    for model in (exact, sparse):
        for layer in model.encoder.layer:
            CHANGES[change](layer.attention.self, layer.output.LayerNorm)
    if change == "the size of a head" and not hasattr(exact.encoder.layer[0].attention.self, "scaling"):
        pytest.skip("this version of transformers reads the number of heads too")
    close(states(sparse, ids), states(exact, ids))
    assert ("compiled" in sparse.forward.last) == (change == "what a norm adds")


def test_a_number_of_heads_that_does_not_fit_is_left_to_the_layers():
    _, sparse = both("Bert", "block_column:4")
    ids = torch.randint(3, 60, (2, 9))
    states(sparse, ids)
    sparse.encoder.layer[0].attention.self.num_attention_heads = 2
    sparse.encoder.layer[1].attention.self.num_attention_heads = 2
    with torch.inference_mode():
        sparse(ids)
    assert sparse.encoder.forward.last == "2 heads of 12 features are not the 48 of a layer"


def test_a_forward_that_somebody_set_is_kept_and_said():
    exact, _ = both("Bert", "block_column:4")
    for path in ("", "encoder"):
        model = copy.deepcopy(exact).float()
        owner = model.get_submodule(path)
        own, calls = owner.forward, []
        owner.forward = lambda *a, own=own, calls=calls, **k: (calls.append(1), own(*a, **k))[1]
        with pytest.warns(match=f"the forward of a {type(owner).__name__} was replaced"):
            bp.sparsify(model, bp.BlockStructure.block_column(4), keep_dense_above=1.0)
        ids = torch.randint(3, 60, (2, 9))
        close(states(model, ids), states(exact, ids))
        assert calls
