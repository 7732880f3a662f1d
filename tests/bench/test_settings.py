"""Wrong settings are refused before anything runs, in a sentence that says what would do."""

import pytest

from blockprune_lib import bench
from blockprune_lib.bench.model_settings import ModelSettings, TrainingSettings
from blockprune_lib.bench.rivals import rivals_of
from blockprune_lib.bench.settings import KernelSettings, MatrixSettings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shapes": [(0, 3)]}, "shapes"),
        ({"shapes": []}, "shapes must be a list that is not empty"),
        ({"structures": ["rows"]}, "must name a structure"),
        ({"structures": "irregular"}, "must be a list"),
        ({"structures": ["tile:64x64"], "shapes": [(32, 32)]}, "block larger than the matrix"),
        ({"rates": [0.5]}, r"rates\[0\] must be a number of at least 1"),
        ({"tokens": [0]}, r"tokens\[0\] must be a whole number of at least 1"),
        ({"threads": [0]}, r"threads\[0\] must be a whole number of at least 1"),
        ({"repeats": 2}, "repeats must be a whole number of at least 3"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"peers": "some"}, "peers must be one of 'all', 'none', or a list"),
        ({"peers": ("deepsparse",)}, "there is no engine 'deepsparse' here; there are torch-onednn, torch-bf16"),
        ({"skip": ("blockprune",)}, "there is no engine 'blockprune' here"),
    ],
)
def test_wrong_settings_are_refused_before_anything_runs(settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        bench.bench_matrices(**settings)


def test_chosen_engines_keep_the_tables_order():
    def chosen(**settings):
        return [rival.key for rival in MatrixSettings(**settings).chosen(rivals_of("matrix"))]

    assert chosen(peers=("scipy-csr", "torch-bf16"), skip=("torch-bf16",)) == ["torch", "scipy-csr"]
    assert chosen(peers="none") == ["torch"]
    cases = list(ModelSettings(structures=["irregular", "row"], rates=[2, 5], batches=[1, 2]).cases())
    assert cases[1] == ("bert-base", ("irregular", "row"), 2.0, 2, 128, 1, None)
    steps = list(TrainingSettings(structures=["irregular", "row"]).cases())
    assert [(case.structures, case.batch) for case in steps] == [(("irregular",), 8), (("row",), 8)]


def test_lengths_take_the_place_of_batches_and_tokens():
    [case] = ModelSettings(lengths="7, 12,31").cases()
    assert (case.batch, case.tokens, case.lengths) == (3, 31, (7, 12, 31))
    [case] = ModelSettings(lengths="sst2", batches=[32]).cases()
    assert (case.batch, case.lengths) == (32, "sst2")
    assert str(case) == "bert-base, block_column:16, rate 5, batch 32 of sst2, 1 thread"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"model": "gpt"},
            "model must be one of bert-base, roberta-base, distilbert-base, minilm or a folder; got",
        ),
        ({"batches": [0]}, r"batches\[0\] must be a whole number of at least 1"),
        ({"lengths": "sst3"}, r"lengths must be whole numbers .* got 'sst3': 7,12,31 or sst2 would do"),
        ({"lengths": (3, 0)}, r"lengths must be whole numbers of at least 1 .* got \(3, 0\)"),
        ({"lengths": "3,4", "tokens": [5]}, "tokens: lengths say how many; leave one of them out"),
        ({"lengths": "3,4", "batches": [5]}, "batches: lengths say how many sequences; leave one of them out"),
        ({"lengths": "sst2", "memory": True}, "memory: measured with sequences of one length"),
        ({"precisions": ["float16"]}, r"precisions\[0\] must be one of 'float32', 'bfloat16', 'auto'; got 'float16'"),
        (
            {"peers": ("torch-csr",)},
            "there is no engine 'torch-csr' here; there are torch-bf16, torch-int8",
        ),
    ],
)
def test_wrong_settings_of_models(settings, message):
    with pytest.raises(ValueError, match=message):
        bench.bench_model(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threads": [2]}, r"threads\[0\] must be"),
        ({"structures": ["tile:64x64"], "shapes": [(32, 32)]}, "block larger than the matrix"),
        ({"peers": "none"}, "there is no 'peers'"),
    ],
)
def test_wrong_settings_of_kernels(settings, message):
    with pytest.raises(ValueError, match=message):
        bench.bench_kernels(**settings)
    assert "irregular" in KernelSettings().structures
