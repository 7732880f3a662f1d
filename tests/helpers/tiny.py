"""Small models written to disk by the tests that load them: a few kilobytes each, random weights."""

import json

import pytest
import torch

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "a", "cat", "dog", "sat", "not", "good", "bad", "##s"]
SIZES = {"vocab_size": len(WORDS), "max_position_embeddings": 64}
BERT_SIZES = {
    **SIZES,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "pad_token_id": 0,
}


def write(folder, kind="bert", head=None):
    """A random encoder of one kind with a tokenizer in `folder`; `head` writes a classifier of so many classes too."""
    import transformers

    configs = {
        "bert": lambda: transformers.BertConfig(**BERT_SIZES),
        "roberta": lambda: transformers.RobertaConfig(**BERT_SIZES),
        "distilbert": lambda: transformers.DistilBertConfig(**SIZES, dim=16, n_layers=2, n_heads=2, hidden_dim=32),
    }
    config = configs[kind]()
    torch.manual_seed(7)
    if head is None:
        model = transformers.AutoModel.from_config(config)
    else:
        config.num_labels = head
        model = transformers.AutoModelForSequenceClassification.from_config(config)
    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    if bars:
        transformers.utils.logging.enable_progress_bar()
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory):
    """A folder with a two-layer BERT, a vocabulary and nothing else."""
    return write(tmp_path_factory.mktemp("tiny"))
