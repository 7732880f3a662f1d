"""Texts are cut at what the model takes: at that many tokens a real forward runs, at one more it does not."""

import json

import numpy as np
import pytest
import torch
import transformers

import blockprune_lib as bp
from blockprune_lib.data.limits import most_tokens, shorten

from ..helpers.tiny import WORDS, write

_COUNTS = ("num_hidden_layers", "num_attention_heads", "n_heads", "n_layers", "n_layer", "n_head")
_WIDTHS = ("hidden_size", "intermediate_size", "embedding_size", "dim", "hidden_dim", "n_embd")
SIZES = {"vocab_size": 20} | dict.fromkeys(_COUNTS, 1) | dict.fromkeys(_WIDTHS, 8)
#: Configuration, positions, and tokens of the longest text.
FAMILIES = [
    ("bert", 32, 32), ("electra", 32, 32), ("albert", 32, 32), ("distilbert", 32, 32), ("roberta", 34, 32),
    ("xlm-roberta", 34, 32), ("camembert", 34, 32), ("mpnet", 34, 32), ("gpt2", 32, 32),
    ("roberta-prelayernorm", 34, 32),
]  # fmt: skip


@pytest.mark.parametrize(("family", "positions", "limit"), FAMILIES)
def test_the_longest_text_runs_and_a_longer_one_does_not(family, positions, limit):
    config = transformers.AutoConfig.for_model(family)
    for name, value in (SIZES | {"max_position_embeddings": positions, "pad_token_id": 1}).items():
        if hasattr(config, name) and name != "n_positions":
            setattr(config, name, value)
    config._attn_implementation = "eager"
    model = transformers.AutoModel.from_config(config).eval()
    assert most_tokens(model) == limit
    model(input_ids=torch.full((1, limit), 5))
    with pytest.raises((IndexError, RuntimeError, ValueError)):
        model(input_ids=torch.full((1, limit + 1), 5))


@pytest.mark.parametrize("family", ["deberta-v2", "t5", "xlnet"])
def test_models_with_relative_positions_take_what_their_configuration_says(family):
    model = torch.nn.Module()
    model.config = transformers.AutoConfig.for_model(family)
    assert most_tokens(model) == (512 if family == "deberta-v2" else None)
    assert shorten(10_000, model, object()) == (512 if family == "deberta-v2" else 10_000)


def test_the_least_of_three_limits():
    model = transformers.BertModel(
        transformers.BertConfig(hidden_size=8, num_attention_heads=1, max_position_embeddings=64)
    )
    tokenizer = type("T", (), {"model_max_length": 48})
    assert [shorten(length, model, tokenizer) for length in (128, 48, 20)] == [48, 48, 20]
    tokenizer.model_max_length = int(1e30)
    assert shorten(128, model, tokenizer) == 64


@pytest.fixture(scope="module")
def long_texts():
    rows = {"sentence": ["good cat " * 100, "bad dog " * 100] * 2, "label": ["good", "bad"] * 2}
    return bp.tasks.from_datasets({"train": rows, "validation": rows})


@pytest.mark.parametrize(("kind", "limit"), [("bert", 64), ("roberta", 63), ("distilbert", 64)])
def test_a_tokenizer_that_names_no_limit(kind, limit, long_texts, tmp_path):
    folder = write(tmp_path, kind)  # the tiny RoBERTa's padding is token 0
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    model, tokenizer = bp.models.load(folder, task=long_texts)
    assert tokenizer.model_max_length == limit
    for used in (tokenizer, transformers.BertTokenizerFast(str(folder / "vocab.txt"))):  # ours, and one of the user's
        assert set(bp.evaluate(model, used, long_texts)) == {"accuracy"}
        assert max(map(len, long_texts._encoded["pair"][1]["input_ids"])) == limit
    report = bp.fine_tune(model, tokenizer, long_texts, bp.TrainingSettings(max_steps=1, batch_size=4))
    assert report.steps == 1


def test_encoded_text_that_is_too_long_is_named(tmp_path):
    model, tokenizer = bp.models.load(write(tmp_path))
    rows = [{"input_ids": [2, 5, 3], "label": 0}, {"input_ids": [2, *[5] * 70, 3], "label": 1}]
    with pytest.raises(ValueError, match=r"validation, row 1 has 72 tokens, the model takes 64: .* max_length=64"):
        bp.evaluate(model, tokenizer, (rows[:1], rows))


@pytest.mark.parametrize("make", [np.int32, np.bool_, torch.tensor, bool, np.uint8])
def test_encoded_examples_with_labels_of_any_integer_type(make, tmp_path):
    model, tokenizer = bp.models.load(write(tmp_path))
    rows = [{"input_ids": [2, 5 + place, 3], "label": make(place % 2)} for place in range(4)]
    plain = [row | {"label": place % 2} for place, row in enumerate(rows)]
    assert bp.evaluate(model, tokenizer, (rows, rows)) == bp.evaluate(model, tokenizer, (plain, plain))


def test_encoded_examples_with_classes_as_floats(tmp_path):
    model, tokenizer = bp.models.load(write(tmp_path))
    rows = [{"input_ids": [2, 3], "label": float(place)} for place in range(2)]
    with pytest.raises(ValueError, match=r"labels from 0\.0 to 1\.0, .* whole numbers without a point"):
        bp.evaluate(model, tokenizer, (rows, rows))


def test_training_names_the_outputs_after_the_data(long_texts, tmp_path):
    assert "good" in WORDS
    model, tokenizer = bp.models.load(write(tmp_path))
    assert model.config.id2label == {0: "LABEL_0", 1: "LABEL_1"}
    bp.evaluate(model, tokenizer, long_texts)
    assert model.config.id2label == {0: "LABEL_0", 1: "LABEL_1"}  # scoring leaves the model as it is
    bp.fine_tune(model, tokenizer, long_texts, bp.TrainingSettings(max_steps=1, batch_size=4))
    assert model.config.id2label == {0: "bad", 1: "good"}
