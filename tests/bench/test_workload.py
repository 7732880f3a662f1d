"""The models that are benchmarked have their published sizes and positions."""

import pytest
import torch

from blockprune_lib import bench
from blockprune_lib.bench import workload


@pytest.mark.parametrize("name", ["bert-base", "roberta-base", "distilbert-base"])
def test_fresh_models_have_the_published_sizes(name, monkeypatch):
    published = {"bert-base": 109_482_240, "roberta-base": 124_645_632, "distilbert-base": 66_362_880}
    poolers = {"bert-base": 590_592, "roberta-base": 590_592, "distilbert-base": 0}
    before = torch.random.get_rng_state()
    with torch.device("meta"):
        model = workload.fresh(name, 0)
    assert sum(p.numel() for p in model.parameters()) == published[name] - poolers[name]
    assert torch.equal(before, torch.random.get_rng_state())


def test_more_tokens_than_positions_are_refused(tiny_folder):
    with pytest.raises(ValueError, match=r"tokens must be at most 64, .*; got 65"):
        bench.bench_model(model=str(tiny_folder), structures=["irregular"], tokens=[65])


@pytest.mark.parametrize(
    ("family", "positions"), [("Bert", 20), ("Roberta", 18), ("Camembert", 18), ("DistilBert", 20)]
)
def test_positions_are_counted_from_after_the_padding_where_a_model_does(family, positions):
    import transformers

    config = getattr(transformers, f"{family}Config")(
        vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=20
    )
    model = getattr(transformers, f"{family}Model")(config)
    assert model(torch.full((1, positions), 5)).last_hidden_state.shape[1] == positions
    workload.check_tokens(model, (positions,))
    with pytest.raises(ValueError, match=rf"at most {positions}, .*; got {positions + 1}"):
        workload.check_tokens(model, (positions + 1,))
