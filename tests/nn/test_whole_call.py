"""The compiled call from token numbers against the dense model in float64; and when it must not be made."""

from __future__ import annotations

import copy
import inspect
import warnings

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

import blockprune_lib as bp
from blockprune_lib.kernels.precision import PRECISIONS
from blockprune_lib.nn.whole_call import WholeCall
from blockprune_lib.pruning.families import ARCHITECTURES, text_paths

from .test_engine import FAMILIES, both, close, family, states

PADDING = {"Bert": 0, "DistilBert": 0}


def padded(name, batch=3, tokens=21, seed=0):
    """Token numbers and a mask, texts of unequal lengths, with the family's number for padding behind them."""
    generator = torch.Generator().manual_seed(seed)
    ids, mask = torch.randint(3, 60, (batch, tokens), generator=generator), torch.ones(batch, tokens, dtype=torch.long)
    for row in range(1, batch):
        mask[row, 1 + int(torch.randint(tokens, (1,), generator=generator)) :] = 0
    return ids.where(mask == 1, PADDING.get(name, 1)), mask


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "Electra"])
def test_every_family(name):
    exact, sparse = both(name, "block_column:4")
    ids, mask = padded(name)
    wanted = states(exact, ids, mask)
    for _ in range(2):  # the first call also sees what the own forward returns
        close(states(sparse, ids, mask), wanted, mask)
        assert sparse.forward.last == "compiled"


@pytest.mark.skipif(bool(PRECISIONS["bfloat16"].missing), reason="no bfloat16 here")
@pytest.mark.parametrize("name", ["Bert", "DistilBert"])
def test_in_bfloat16(name):
    """Embeddings stay float32: the same as when torch computes them, up to what rounding makes of their last bit."""
    _, sparse = both(name, "tile:8x4", "bfloat16")
    ids, mask = padded(name)
    found = states(sparse, ids, mask)
    assert sparse.forward.last == "compiled"
    del sparse.forward
    torch.testing.assert_close(found, states(sparse, ids, mask), rtol=0, atol=0.02 * float(found.abs().max()))


def test_projected_embeddings_go_the_old_way():
    exact, sparse = both("Electra", "block_column:4")
    ids, mask = padded("Bert")
    close(states(sparse, ids, mask), states(exact, ids, mask), mask)
    assert sparse.forward.last == "the embeddings are projected"
    assert sparse.encoder.forward.last == "compiled"


@settings(max_examples=25)
@given(
    heads=st.sampled_from([1, 3]), head=st.sampled_from([2, 5, 16]), batch=st.integers(1, 5),
    tokens=st.integers(1, 40), typed=st.booleans(), short=st.booleans(), seed=st.integers(0, 9),
)  # fmt: skip
def test_any_width_any_text_and_types(heads, head, batch, tokens, typed, short, seed):
    exact, sparse = both("Bert", "irregular", width=heads * head, heads=heads)
    ids, mask = padded("Bert", batch, tokens, seed)
    types = torch.randint(0, 2, ids.shape) if typed else None
    with torch.inference_mode():
        for _ in range(2):
            given_ids = ids.int() if short else ids
            found = sparse(given_ids, attention_mask=mask, token_type_ids=types)
        wanted = exact(ids, attention_mask=mask, token_type_ids=types)
    close(found.last_hidden_state, wanted.last_hidden_state, mask)
    torch.testing.assert_close(found.pooler_output.double(), wanted.pooler_output, rtol=1e-4, atol=1e-4)
    assert sparse.forward.last == "compiled"


def test_it_returns_what_the_class_returns_under_a_head_and_alone():
    torch.manual_seed(0)
    config = family("Bert").config
    dense = transformers.BertForSequenceClassification(config).eval()
    bp.prune(dense, bp.BlockStructure.block_column(4), 3.0)
    sparse = bp.sparsify(copy.deepcopy(dense), bp.BlockStructure.block_column(4), keep_dense_above=1.0)
    ids, mask = padded("Bert")
    with torch.inference_mode():
        for _ in range(2):
            found, wanted = (
                model(ids, attention_mask=mask, labels=torch.tensor([0, 1, 0])) for model in (sparse, dense)
            )
            assert type(found) is type(wanted)
            assert list(found) == list(wanted)
            torch.testing.assert_close(found.loss, wanted.loss)
            alone, class_own = (model.bert(ids, mask) for model in (sparse, dense))
            assert type(alone) is type(class_own)
            assert list(alone) == list(class_own)
    assert sparse.bert.forward.last == "compiled"
    assert inspect.signature(sparse.bert.forward) == inspect.signature(dense.bert.forward)


WAYS = {
    "a tuple": ({"return_dict": False}, None, "tuple"),
    "hidden states": ({"output_hidden_states": True}, None, "output_hidden_states"),
    "places": ({"position_ids": torch.arange(9)[None]}, None, "position_ids"),
    "training": ({}, lambda m: m.train(), "training"),
    "a hook on the embeddings": ({}, lambda m: m.embeddings.register_forward_hook(lambda *_: None), "hooks"),
    "another forward": (
        {}, lambda m: setattr(m.embeddings, "forward", m.embeddings.forward), "forward of a BertEmbeddings was",
    ),
    "another table": (
        {}, lambda m: m.embeddings.set_submodule("word_embeddings", torch.nn.Embedding(60, 48, max_norm=1.0)),
        "no plain nn.Embedding",
    ),
    "bfloat16": ({}, lambda m: m.bfloat16(), "float32"),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_the_own_forward_runs_where_it_must(way):
    asked, change, why = WAYS[way]
    _, sparse = both("Bert", "block_column:4")
    twin = copy.deepcopy(sparse)
    del twin.forward
    for model in (sparse, twin):
        if change:
            torch.manual_seed(0)
            change(model)
    ids = torch.randint(3, 60, (1, 9))
    with torch.no_grad():
        torch.manual_seed(0)
        found = sparse(ids, **asked)
        torch.manual_seed(0)
        wanted = twin(ids, **asked)
    assert why in sparse.forward.last
    assert type(found) is type(wanted)
    torch.testing.assert_close(found[0], wanted[0], rtol=0, atol=0)


def test_numbers_beyond_a_table_are_the_error_that_torch_raises():
    _, sparse = both("Bert", "block_column:4")
    with torch.inference_mode():
        sparse(torch.randint(3, 60, (1, 9)))
        for wrong in (torch.tensor([[5, 60]]), torch.tensor([[5, -1]]), torch.ones(1, 601, dtype=torch.long)):
            with pytest.raises((IndexError, RuntimeError)):
                sparse(wrong)
        with pytest.raises(IndexError):
            sparse(torch.tensor([[5, 6]]), token_type_ids=torch.tensor([[0, 2]]))


def test_embeddings_that_change_are_read_again():
    exact, sparse = both("Bert", "block_column:4")
    ids = torch.randint(3, 60, (2, 9))
    close(states(sparse, ids), states(exact, ids))
    for model in (exact, sparse):
        with torch.no_grad():
            model.embeddings.word_embeddings.weight.mul_(1.5)
            model.embeddings.LayerNorm.bias.data.add_(0.5)
    close(states(sparse, ids), states(exact, ids))
    for model in (exact, sparse):
        torch.manual_seed(1)
        model.resize_token_embeddings(70, mean_resizing=False)
        model.embeddings.word_embeddings.weight.data[60:] = 0.25
    more = torch.tensor([[4, 69, 61]])
    close(states(sparse, more), states(exact, more))
    assert sparse.forward.last == "compiled"


def test_densify_and_files_know_it(tmp_path):
    _, sparse = both("Bert", "block_column:4")
    ids = torch.randint(3, 60, (2, 9))
    wanted = states(sparse, ids)
    bp.save(sparse, tmp_path / "m")
    again = bp.load(tmp_path / "m")
    assert torch.equal(states(again, ids), wanted)
    assert again.forward.last == "compiled"
    assert not any(isinstance(vars(module).get("forward"), WholeCall) for module in bp.densify(sparse).modules())


def test_threads_do_not_change_a_bit():
    _, sparse = both("Bert", "block_column:4")
    ids, mask = padded("Bert", 9, 70)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(states(sparse, ids, mask))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


def test_every_family_with_an_encoder_has_its_texts_model():
    assert all((family.layer is None) == (family.text is None) for family in ARCHITECTURES)
    assert text_paths(torch.nn.Linear(2, 2)) is None


@pytest.mark.parametrize("name", ["Bert", "DistilBert"])
def test_under_autocast_as_layers_after_embeddings(name):
    """What accelerate leaves around a model that a Trainer trained in bfloat16 costs no compiled call."""
    _, sparse = both(name, "block_column:4")
    twin = copy.deepcopy(sparse)
    del twin.forward
    ids, mask = padded(name)
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
            found, wanted = sparse(ids, mask), twin(ids, mask)
        assert sparse.forward.last == "compiled"
        assert tuple(found) == tuple(wanted)
        for one, other in zip(found.values(), wanted.values(), strict=True):
            assert one.dtype is other.dtype
            torch.testing.assert_close(one.float(), other.float(), rtol=3e-2, atol=3e-2)


def test_a_model_that_becomes_a_decoder_is_no_longer_called_whole():
    exact, sparse = both("Bert", "block_column:4")
    ids, _ = padded("Bert")
    states(sparse, ids)
    for model in (exact, sparse):
        model.config.is_decoder = True
    with torch.inference_mode():
        close(sparse(ids).last_hidden_state, exact(ids).last_hidden_state)
    assert sparse.forward.last == "the model is a decoder"


def test_after_gradient_checkpointing_the_call_is_whole_again():
    exact, sparse = both("Bert", "block_column:4")
    ids, mask = padded("Bert")
    with warnings.catch_warnings():  # its name in transformers 6 is another
        warnings.simplefilter("ignore", FutureWarning)
        sparse.train().gradient_checkpointing_enable()
    sparse(ids, mask).last_hidden_state.sum().backward()
    close(states(sparse.eval(), ids, mask), states(exact, ids, mask), mask)
    close(states(sparse, ids, mask), states(exact, ids, mask), mask)
    assert sparse.forward.last == "compiled"
    sparse(ids, mask).last_hidden_state.sum().backward()  # with gradients, the layers
    assert "gradients" in sparse.forward.last or "hooks" in sparse.forward.last
