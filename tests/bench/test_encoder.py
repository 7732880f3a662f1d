"""A whole model: every engine answers as torch does, padded or not, and each structure by its own weights."""

import json
import sys

import numpy as np
import pytest
import torch

from blockprune_lib import bench
from blockprune_lib.bench import encoder, workload
from blockprune_lib.bench.engine import UnavailableError
from blockprune_lib.bench.export import export


def test_every_engine_runs_the_whole_model(model_record):
    [case] = model_record.cases
    keys = {engine.key for engine in case.engines}
    assert {"torch", "torch-bf16", "torch-int8", "blockprune block_column:4 f32", "blockprune tile:4x4 f32"} <= keys
    for entry in case.skipped:
        assert entry.why.endswith("is not installed") or entry.why.startswith("OpenVINO has no bf16"), entry
    assert [engine.structure for engine in case.all_ours] == ["block_column:4", "tile:4x4"]
    assert set(case.fastest_rivals()) == {"float32", "bfloat16", "int8"}
    kept = 2 * (4 * 16 * 16 + 2 * 16 * 32) // 2
    assert case.what.kept == kept
    assert case.operations == 2 * 8 * kept + 4 * 2 * 8 * 8 * 16
    assert "batch 1 x 8 tokens" in repr(model_record)


def test_a_folder_goes_by_its_name_alone(model_record, tiny_folder):
    assert model_record.cases[0].what.model == model_record.settings["model"] == tiny_folder.name
    assert str(tiny_folder) not in json.dumps(model_record.to_dict())


def test_a_models_record_comes_back(model_record, tmp_path):
    model_record.save(tmp_path / "m.json")
    assert bench.read(tmp_path / "m.json").to_dict() == model_record.to_dict()


def test_a_model_without_peers_says_so_in_one_line(tiny_folder, monkeypatch):
    for name in ("onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, name, None)
    found = bench.bench_model(
        model=str(tiny_folder), structures=["block_column:4"], tokens=[8], repeats=3, warmup=0,
        peers=("onnxruntime", "openvino"),
    )  # fmt: skip
    assert "skipped, not installed: onnxruntime, openvino; install with: pip install" in repr(found)


def test_an_export_that_fails_says_why(tmp_path, tiny_folder, monkeypatch):
    pytest.importorskip("onnx")

    def fail(*arguments, **options):
        raise RuntimeError(f"no exporter with dynamo={options['dynamo']}")

    monkeypatch.setattr(torch.onnx, "export", fail)
    model = workload.LastHidden(workload.fresh(str(tiny_folder), 0))
    with pytest.raises(UnavailableError, match=r"dynamo=False; RuntimeError: no exporter with dynamo=True"):
        export(model, {"ids": torch.ones(1, 4, dtype=torch.int64)}, tmp_path / "m.onnx")
    assert model.encoder.config._attn_implementation != "eager"


LENGTHS = (3, 9, 1, 8, 5, 2, 9, 4, 7, 6)


@pytest.fixture(scope="module")
def mixed(tiny_folder):
    return bench.bench_model(
        model=str(tiny_folder), structures=["tile:4x4", "block_column:4"], rates=[2.0], lengths=LENGTHS, repeats=3,
        warmup=0, peers=("torch-bf16", "torch-int8", "onnxruntime", "onnxruntime-int8", "openvino"),
    )  # fmt: skip


def test_padding_is_computed_by_rivals_only(mixed):
    [case] = mixed.cases
    assert case.what.lengths == list(LENGTHS)
    assert case.what.batch == 10
    assert {"torch", "torch-sorted", "torch-bf16-sorted", "torch-int8-sorted"} <= {e.key for e in case.engines}
    width, layers = 16, 2
    of_attention = 4 * layers * width * sum(length**2 for length in LENGTHS)
    assert case.operations == 2 * sum(LENGTHS) * case.what.kept + of_attention
    assert "batch of 10, 1 to 9 tokens, 54 in all" in repr(mixed)
    assert "torch dense f32, sorted" in repr(mixed)


def test_mixed_lengths_give_what_each_sequence_gives_alone(tiny_folder):
    settings = encoder.ModelSettings(model=str(tiny_folder), structures=["tile:4x4"], rates=[2.0], lengths=LENGTHS)
    models = encoder.PrunedModels(settings, 2.0)
    [case] = settings.cases()
    sequences = encoder.sequences_of(models.dense["tile:4x4"].encoder, settings, case)
    work = encoder.Encoding(models.dense["tile:4x4"], sequences, 1, tiny_folder)
    with torch.no_grad():
        alone = [
            models.dense["tile:4x4"](row[None, :length])[0] for row, length in zip(sequences.ids, LENGTHS, strict=True)
        ]
        wanted = torch.cat(alone).double().numpy()
        ours = models.ours("tile:4x4", "float32", sequences)
        rivals = encoder.rivals_of("model")
        engines = [ours, encoder.in_sorted_batches(rivals["torch"], work), encoder.engine_of(rivals["torch"], work)]
        for engine in engines:
            np.testing.assert_allclose(engine.answer(), wanted, atol=1e-5)
            engine.run()
    assert ours.name == "blockprune tile:4x4 f32"  # it ran as one compiled call
    np.testing.assert_allclose(ours.expected(), wanted, atol=1e-5)


def test_sentences_of_a_task_are_drawn(tiny_folder, monkeypatch):
    monkeypatch.delenv("BLOCKPRUNE_GLUE_DIR", raising=False)
    monkeypatch.setattr("blockprune_lib.data.hub.reachable", lambda: False)
    found = bench.bench_model(
        model=str(tiny_folder), structures=["irregular"], lengths="sst2", batches=[5], repeats=3, warmup=0, peers="none"
    )
    what = found.cases[0].what
    assert what.text == "sst2"
    assert what.batch == len(what.lengths) == 5
    assert len(set(what.lengths)) > 1
    assert "batch of 5 of sst2" in repr(found)


def test_a_layer_by_layer_run_says_so(tiny_folder, monkeypatch):
    monkeypatch.setattr("blockprune_lib.nn.convert.attach", lambda model, *more: None)
    found = bench.bench_model(
        model=str(tiny_folder), structures=["irregular"], tokens=[4], repeats=3, warmup=0, peers="none"
    )
    assert found.cases[0].all_ours[0].name == "blockprune irregular f32 (layer by layer: no compiled call)"


def test_a_precision_that_is_not_there_is_refused_before_anything_runs(monkeypatch):
    def refuse(*arguments, precision, **options):
        raise ValueError(f"precision must be float32; got {precision!r}: this processor lacks it")

    monkeypatch.setattr(encoder, "sparsify", refuse)
    with pytest.raises(ValueError, match="got 'bfloat16': this processor lacks it"):
        bench.bench_model(precisions=["bfloat16"])


def test_what_compiles_answers_as_torch_does(tiny_folder):
    key = "torch-max-bf16"
    found = bench.bench_model(
        model=str(tiny_folder), structures=["irregular"], rates=[2.0], tokens=[8], repeats=3, warmup=0, peers=(key,)
    )
    keys = [engine.key for engine in found.cases[0].engines]
    assert key in keys or "does not work here" in found.cases[0].skipped[0].why
