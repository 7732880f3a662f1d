"""The benchmarks: every engine answers as NumPy does, a record keeps everything, and nothing wrong is timed."""

import copy
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import blockprune_lib as bp
from blockprune_lib import bench
from blockprune_lib._common import provenance
from blockprune_lib._common.plots import check_picture
from blockprune_lib.bench import (
    encoder,
    footprint,
    matrix,
    measuring,
    plots,
    records,
    runtimes,
    tables,
    training_step,
    workload,
)
from blockprune_lib.bench.case import Case, Part, What
from blockprune_lib.bench.settings import MatrixCase, MatrixSettings, ModelCase, ModelSettings
from blockprune_lib.machine.comparison import Comparison, Timing
from tests.helpers.tiny import tiny_folder  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"shapes": [(32, 48)], "rates": [2.0], "tokens": [8], "repeats": 3, "warmup": 1}
QUICK = [key for key in matrix.ENGINES if key != "torch-compile"]


def problem(structure="block_column:16", shape=(32, 48), rate=2.0, threads=1):
    return matrix.problem_of(MatrixCase(shape, structure, rate, 8, threads), seed=3)


@pytest.fixture(scope="module")
def record():
    return bench.bench_matrices(structures=["block_column:16", "tile:16x16"], skip=("torch-compile",), **SMALL)


# --- engines of one matrix


@pytest.mark.parametrize("structure", ["block_column:16", "tile:16x16", "block_row:8", "irregular", "block_column:5"])
@pytest.mark.parametrize("key", QUICK)
def test_every_engine_multiplies_as_numpy_does(key, structure):
    given = problem(structure)
    try:
        engine = matrix.ENGINES[key](given)
    except runtimes.UnavailableError as reason:
        pytest.skip(str(reason))
    assert engine.key == key
    expected = np.zeros((8, 32))
    for token in range(8):
        for output in range(32):
            expected[token, output] = np.dot(given.given[token].double().numpy(), given.weight[output].double().numpy())
    np.testing.assert_allclose(
        engine.answer(), expected, atol=matrix.TOLERANCES[engine.precision] * np.abs(expected).max()
    )
    engine.run()


def test_torch_compile_multiplies_too():
    given = problem()
    with bp.threads(1), torch.inference_mode():
        try:
            engine = runtimes.torch_compile(given)
        except runtimes.UnavailableError as reason:
            pytest.skip(str(reason))
        np.testing.assert_allclose(engine.answer(), given.reference(), atol=1e-5)


def test_without_a_compiler_torch_compile_says_so(monkeypatch):
    def refuse(*arguments, **options):
        raise RuntimeError("no C++ compiler\nlong trace")

    monkeypatch.setattr(torch, "compile", refuse)
    with pytest.raises(
        runtimes.UnavailableError, match=r"torch.compile does not work here: RuntimeError: no C\+\+ compiler$"
    ):
        runtimes.torch_compile(problem())


@pytest.mark.parametrize(
    ("key", "structure", "why"),
    [
        ("torch-bsr", "block_column:16", "square blocks of 2 or more; block_column:16 has 16 x 1"),
        ("torch-bsr-linear", "irregular", "square blocks"),
        ("torch-bsr", "tile:5x5", "do not fill 32 x 48"),
        ("scipy-bsr", "irregular", "is CSR"),
        ("scipy-bsr", "block_column:5", "blocks of 5 x 1 do not fill"),
    ],
)
def test_what_a_format_cannot_hold_is_said(key, structure, why):
    with pytest.raises(runtimes.UnavailableError, match=why):
        matrix.ENGINES[key](problem(structure))


def test_problems_keep_exactly_the_groups_of_the_rate_and_repeat():
    one, two = problem(rate=5.0), problem(rate=5.0)
    assert torch.equal(one.weight, two.weight)
    assert torch.equal(one.given, two.given)
    groups = one.weight.unflatten(0, (2, 16)).ne(0)
    assert groups.all(1).sum() == groups.any(1).sum() == round(2 * 48 / 5)


# --- measuring


def maker(key, answer, precision="float32"):
    return lambda: runtimes.Engine(key, key, lambda: None, lambda: np.asarray(answer, dtype=float), precision)


def test_a_wrong_answer_is_not_timed_and_a_failure_is_told():
    def fail():
        raise OSError("no such instruction\nmore")

    makers = {
        "right": maker("right", [[1.0, 2.0]]),
        "near": maker("near", [[1.0, 2.02]], "bfloat16"),
        "wrong": maker("wrong", [[1.0, 2.1]]),
        "nan": maker("nan", [[1.0, float("nan")]]),
        "shape": maker("shape", [[1.0]]),
        "broken": fail,
        "ours": maker("ours", [[1.0, 2.0]]),
    }
    allowed = matrix.TOLERANCES
    for reference in (np.array([[1.0, 2.0]]), None):  # None: the first engine's own answer
        made, errors, skipped = measuring.make_all(makers, allowed, reference)
        assert list(made) == ["right", "near", "ours"]
        assert errors["right"] == (0, allowed["float32"])
        assert errors["near"] == (pytest.approx(0.01), allowed["bfloat16"])
        said = {entry.engine: entry.why for entry in skipped}
        assert said["wrong"].startswith("its answer is off by 0.05 of the largest number; 1e-05 is allowed")
        assert "nan" in said["nan"]
        assert "inf" in said["shape"]
        assert said["broken"] == "it failed: OSError: no such instruction"
    for first, last in (("wrong", "ours"), ("right", "wrong")):
        two = {key: makers[key] for key in (first, last)}
        with pytest.raises(RuntimeError, match=r"wrong: its answer is off by .* nothing was timed"):
            measuring.make_all(two, allowed, np.array([[1.0, 2.0]]))
    with pytest.raises(OSError, match="no such instruction"):
        measuring.make_all({"broken": fail, "ours": makers["ours"]}, allowed)


def test_rates_and_ratios_are_what_their_words_say():
    timings = {"a": Timing("a", (4.0, 4.0, 4.0), 1), "b": Timing("b", (1.0, 1.0, 1.0), 1)}
    compared = Comparison(timings, "a", {"torch": 1}, 0, 0)
    what = What(shape=[8, 8], structure="irregular", rate=2.0, kept=32, density=0.5, tokens=1, threads=1)
    engines = {key: maker(key, [[0.0]])() for key in timings}
    case = Case.made(what, 8e6, "b", engines, dict.fromkeys(engines, (0.0, 1.0)), compared, (10.0, 16.0, 20.0), ())
    a, b = case.engine("a"), case.engine("b")
    assert a.useful_gflops == pytest.approx(2.0)  # 8 million operations in 4 ms
    assert b.useful_gflops == pytest.approx(8.0)
    assert b.share_of_peak == pytest.approx(0.5)
    assert b.ratio_to_baseline.value == pytest.approx(4.0)
    assert a.ours_ratio_to_it.value == pytest.approx(4.0)
    assert b.ours_ratio_to_it.value == pytest.approx(1.0)


def test_engines_take_turns_with_the_peak():
    engine = runtimes.Engine("x", "x", lambda: sum(range(2000)), lambda: np.zeros(1))
    for threads in (1, 2):
        compared, peak = measuring.time_all({"x": engine}, threads, MatrixSettings(repeats=4, warmup=1))
        assert list(compared.timings) == ["x"]
        assert compared.rounds == 4
        assert len(peak) >= 4
        assert min(peak) > 0


# --- the record


def test_a_record_has_every_engine_that_is_installed(record):
    tile = record.cases[1]
    ran, skipped = {engine.key for engine in tile.engines}, {entry.engine for entry in tile.skipped}
    assert ran | skipped == set(QUICK)
    assert {"torch", "torch-bf16", "torch-csr", "torch-bsr", "torch-bsr-linear", "scipy-csr", "blockprune"} <= ran
    assert record.cases[0].what.kept == 48 * 16
    assert tile.operations == 2 * 8 * tile.what.kept
    assert tile.engine("scipy-csr").threads == 1
    for case in record.cases:
        assert all(engine.error <= engine.tolerance for engine in case.engines)
        assert all(len(engine.ms.samples) == 3 for engine in case.engines)


def test_a_record_comes_back_from_its_file(record, tmp_path):
    record.save(tmp_path / "r.json")
    again = bench.read(tmp_path / "r.json")
    assert again.to_dict() == record.to_dict()
    assert repr(again) == str(again) == repr(record)
    assert [entry.name for entry in tmp_path.iterdir()] == ["r.json"]


def test_a_record_says_where_it_came_from(record):
    plain = record.to_dict()
    assert plain["settings"]["shapes"] == [[32, 48]]
    assert plain["settings"]["skip"] == ["torch-compile"]
    assert plain["provenance"]["versions"]["torch"]
    assert plain["hardware"]["cpu"] == bp.hardware().cpu
    assert set(provenance.provenance()) == {"date", "commit", "changed", "versions", "environment"}
    engine = plain["cases"][0]["engines"][0]
    assert engine["useful_gflops"] == pytest.approx(plain["cases"][0]["operations"] / engine["ms"]["median"] / 1e6)


@pytest.mark.parametrize("name", ["kernels", "rivals", "tokens", "model", "training"])
def test_records_of_the_version_before_are_read_whole(name):
    path = ROOT / "book" / "results" / f"bench-{name}.json"
    assert bench.read(path).to_dict() == json.loads(path.read_text())


def needed(model, place=()):
    """The place of each key that a record must have, one of each kind."""
    for name, field in model.model_fields.items():
        if field.is_required():
            yield (*place, name)
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, Part) and name != "skipped":
                yield from needed(part, (*place, name, 0) if part is not field.annotation else (*place, name))


@pytest.mark.parametrize("path", list(needed(records.Record)), ids=lambda path: ".".join(map(str, path)))
def test_a_file_that_lacks_anything_is_refused_by_name(record, tmp_path, path):
    plain = copy.deepcopy(record.to_dict())
    inside = plain
    for key in path[:-1]:
        inside = inside[key]
    del inside[path[-1]]
    (tmp_path / "r.json").write_text(json.dumps(plain))
    place = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")
    with pytest.raises(
        ValueError, match=rf"r.json.* {re.escape(place)} is missing; blockprune bench --json FILE writes"
    ):
        bench.read(tmp_path / "r.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.update(format="other"), "format must be 'blockprune bench, version 1'; got 'other'"),
        (lambda p: p.update(cases=[]), "cases must be a list that is not empty"),
        (lambda p: p.update(cases={}), "cases must be a list"),
        (lambda p: p["cases"][0].update(ours="x"), "ours must be one of the engines .*; got 'x'"),
        (lambda p: p["cases"][0].update(rounds=True), r"cases\[0\].rounds must be a whole number; got True"),
        (lambda p: p["cases"][0]["engines"][0]["ms"].update(samples=[]), "samples must be"),
        (lambda p: p["cases"][0]["engines"][0]["ms"].update(samples=[1.0]), "must have equally many samples"),
        (lambda p: p["cases"][0]["peak_gflops"].update(samples=[0.0]), r"samples\[0\] must be a number above 0"),
        (lambda p: p["cases"][0]["what"].pop("shape"), "must have a shape, or a model and a batch"),
        (lambda p: p.clear(), "format is missing"),
    ],
)
def test_a_broken_record_says_what_is_wrong(record, tmp_path, change, message):
    plain = copy.deepcopy(record.to_dict())
    change(plain)
    (tmp_path / "r.json").write_text(json.dumps(plain))
    with pytest.raises(ValueError, match=message):
        bench.read(tmp_path / "r.json")


def test_keys_that_this_version_does_not_know_are_passed_over(record, tmp_path):
    plain = copy.deepcopy(record.to_dict())
    plain["note"] = plain["cases"][0]["what"]["note"] = "mine"
    (tmp_path / "r.json").write_text(json.dumps(plain))
    assert bench.read(tmp_path / "r.json").to_dict() == record.to_dict()


def test_files_that_are_no_records(tmp_path):
    (tmp_path / "r.json").write_text("{")
    with pytest.raises(ValueError, match=r"is not a whole record: .*is damaged"):
        bench.read(tmp_path / "r.json")
    (tmp_path / "r.json").write_text("[]")
    with pytest.raises(ValueError, match="the record must be keys and values; got list"):
        bench.read(tmp_path / "r.json")
    with pytest.raises(ValueError, match="there is no such file"):
        bench.read(tmp_path / "none.json")


def test_a_record_is_written_whole_or_not_at_all(record, tmp_path, monkeypatch):
    def fail(*paths):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(KeyboardInterrupt):
        record.save(tmp_path / "r.json")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="does not exist"):
        record.save(tmp_path / "no" / "r.json")


# --- printing and drawing


def test_the_table_has_what_it_must(record):
    text = repr(record)
    for needed in (
        "32 x 48, block_column:16 at rate 2 (50.0% kept), 8 tokens, 1 thread",
        "torch dense f32", "torch BSR F.linear", "SciPy CSR @ X", "blockprune", "median ms", "quartiles ms",
        "speed [95 %]", "ours is", "GFLOP/s", "of peak", "error", "peak in the same rounds",
        "skipped: torch-bsr: torch runs BSR in square blocks", "3 rounds in turns", bp.hardware().cpu,
    ):  # fmt: skip
        assert needed in text, needed
    html = record._repr_html_()
    assert html.count("<table") == 2
    assert "torch BSR F.linear" in html


def test_memory_prints_with_what_it_counts(record):
    plain = copy.deepcopy(record.to_dict())
    seen = {"bytes_tensors": 9_000_000, "bytes_resident": 11_000_000, "bytes_peak": None, "dense_copies": 1}
    plain["cases"][0]["memory"] = {"blockprune": seen}
    assert tables.notes(Case(**plain["cases"][0]))[-1] == (
        "memory, blockprune: 9.0 MB of parameters and buffers, 11.0 MB resident with it, "
        "1 dense matrix of a pruned weight's shape alive"
    )


def test_an_engine_on_fewer_threads_is_marked(record):
    plain = copy.deepcopy(record.to_dict())
    plain["cases"][0]["what"]["threads"] = 4
    case = Case(**plain["cases"][0])
    assert [row[0] for row in tables.rows(case) if row[0].startswith("SciPy CSR")] == ["SciPy CSR @ X (1 thread)"]


def test_missing_peers_share_one_line_with_the_pip_line(monkeypatch):
    for name in ("onnxruntime", "openvino", "onnx"):
        monkeypatch.setitem(sys.modules, name, None)
    found = bench.bench_matrices(peers=("onnxruntime", "openvino", "scipy-csr"), **SMALL)
    assert [engine.key for engine in found.cases[0].engines] == ["torch", "scipy-csr", "blockprune"]
    line = "skipped, not installed: onnxruntime, openvino; install with: pip install 'blockprune-lib[peers]'"
    assert line in repr(found).splitlines()


def test_pictures_are_written(record, tmp_path):
    plots.save_plot(record, tmp_path / "p.PNG")  # the command's test draws an SVG
    assert (tmp_path / "p.PNG").read_bytes().startswith(b"\x89PNG")
    assert [entry.name for entry in tmp_path.iterdir()] == ["p.PNG"]


def test_pictures_say_what_they_need(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"must end in .svg or .png; got"):
        check_picture(tmp_path / "p.pdf")
    with pytest.raises(ValueError, match="does not exist; make it first"):
        check_picture(tmp_path / "no" / "p.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ValueError, match=r"pip install 'blockprune-lib\[book\]' installs it"):
        check_picture(tmp_path / "p.svg")


# --- settings


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
        ({"peers": ("deepsparse",)}, "there is no engine 'deepsparse' here; there are torch-bf16"),
        ({"skip": ("blockprune",)}, "there is no engine 'blockprune' here"),
    ],
)
def test_wrong_settings_are_refused_before_anything_runs(settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        bench.bench_matrices(**settings)


def test_chosen_engines_keep_the_tables_order():
    chosen = MatrixSettings(peers=("scipy-csr", "torch-bf16"), skip=("torch-bf16",))
    assert chosen.engines(matrix.ENGINES) == ["torch", "scipy-csr", "blockprune"]
    assert MatrixSettings(peers="none").engines(matrix.ENGINES) == ["torch", "blockprune"]
    cases = list(ModelSettings(rates=[2, 5], batches=[1, 2]).cases())
    assert cases[1] == ("bert-base", "block_column:16", 2.0, 2, 128, 1)


# --- whole models


@pytest.fixture(scope="module")
def model_record(tiny_folder):  # noqa: F811
    return bench.bench_model(
        model=str(tiny_folder), structures=["block_column:4"], rates=[2.0], tokens=[8], repeats=3, warmup=1,
        skip=("torch-compile",),
    )  # fmt: skip


def test_every_engine_runs_the_whole_model(model_record):
    [case] = model_record.cases
    keys = {engine.key for engine in case.engines}
    assert {"torch", "torch-bf16", "blockprune"} <= keys
    for key, module in (("onnxruntime", "onnxruntime"), ("openvino", "openvino")):
        found = [entry.why for entry in case.skipped if entry.engine == key]
        assert key in keys or found == [f"{module} is not installed"] or found == ["onnx is not installed"]
    kept = 2 * (4 * 16 * 16 + 2 * 16 * 32) // 2
    assert case.what.kept == kept
    assert case.operations == 2 * 8 * kept + 4 * 2 * 8 * 8 * 16
    assert "batch 1 x 8 tokens" in repr(model_record)


def test_a_folder_goes_by_its_name_alone(model_record, tiny_folder):  # noqa: F811
    assert model_record.cases[0].what.model == model_record.settings["model"] == tiny_folder.name
    assert str(tiny_folder) not in json.dumps(model_record.to_dict())


def test_a_models_record_comes_back(model_record, tmp_path):
    model_record.save(tmp_path / "m.json")
    assert bench.read(tmp_path / "m.json").to_dict() == model_record.to_dict()


def test_a_model_without_peers_says_so_in_one_line(tiny_folder, monkeypatch):  # noqa: F811
    for name in ("onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, name, None)
    found = bench.bench_model(
        model=str(tiny_folder), structures=["block_column:4"], tokens=[8], repeats=3, warmup=0,
        peers=("onnxruntime", "openvino"),
    )  # fmt: skip
    assert "skipped, not installed: onnxruntime, openvino; install with: pip install" in repr(found)


@pytest.mark.parametrize("name", ["bert-base", "roberta-base", "distilbert-base"])
def test_fresh_models_have_the_published_sizes(name, monkeypatch):
    published = {"bert-base": 109_482_240, "roberta-base": 124_645_632, "distilbert-base": 66_362_880}
    poolers = {"bert-base": 590_592, "roberta-base": 590_592, "distilbert-base": 0}
    before = torch.random.get_rng_state()
    with torch.device("meta"):
        model = workload.fresh(name, 0)
    assert sum(p.numel() for p in model.parameters()) == published[name] - poolers[name]
    assert torch.equal(before, torch.random.get_rng_state())


def test_ids_never_are_padding():
    class Model:
        class config:  # noqa: N801
            vocab_size, pad_token_id = 3, 1

    assert set(workload.token_ids(Model, 4, 50, 0).unique().tolist()) == {0, 2}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"model": "gpt"},
            "model must be one of bert-base, roberta-base, distilbert-base, minilm or a folder; got",
        ),
        ({"batches": [0]}, r"batches\[0\] must be a whole number of at least 1"),
        ({"peers": ("torch-csr",)}, "there is no engine 'torch-csr' here; there are torch-bf16, torch-compile"),
    ],
)
def test_wrong_settings_of_models(settings, message):
    with pytest.raises(ValueError, match=message):
        bench.bench_model(**settings)


def test_more_tokens_than_positions_are_refused(tiny_folder):  # noqa: F811
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


def test_an_export_that_fails_says_why(tmp_path, tiny_folder, monkeypatch):  # noqa: F811
    pytest.importorskip("onnx")

    def fail(*arguments, **options):
        raise RuntimeError(f"no exporter with dynamo={options['dynamo']}")

    monkeypatch.setattr(torch.onnx, "export", fail)
    model = workload.LastHidden(workload.fresh(str(tiny_folder), 0))
    with pytest.raises(runtimes.UnavailableError, match=r"dynamo=False; RuntimeError: no exporter with dynamo=True"):
        encoder.export(model, torch.ones(1, 4, dtype=torch.int64), tmp_path / "m.onnx")
    assert model.encoder.config._attn_implementation != "eager"


# --- training and memory


def test_a_training_step_is_the_same_dense_and_sparse(tiny_folder):  # noqa: F811
    structure = bp.BlockStructure.block_column(4)
    dense = workload.fresh(str(tiny_folder), 0)
    masks = workload.pruned(dense, structure, 2.0)
    sparse = bp.sparsify(copy.deepcopy(dense), structure, keep_dense_above=1.0)
    plain = copy.deepcopy(dense)
    ids = workload.token_ids(dense, 2, 8, 0)
    probe = torch.randn(dense.config.hidden_size, generator=torch.Generator().manual_seed(0))
    (plain(input_ids=ids).last_hidden_state * probe).mean().backward()
    expected = np.concatenate([(plain.get_parameter(n).grad * mask).numpy().ravel() for n, mask in masks.items()])
    for model, held in ((dense, masks), (sparse, None)):
        step = training_step.Step(model, ids, held)
        step.gradients()
        found = training_step.weight_gradients(model, list(masks))
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
        step()
    assert all(bool((dense.get_parameter(name)[~mask] == 0).all()) for name, mask in masks.items())


def test_training_is_measured(tiny_folder):  # noqa: F811
    found = bench.bench_training(
        model=str(tiny_folder), structures=["block_column:4"], rates=[2.0], tokens=[8], repeats=3, warmup=0
    )
    [case] = found.cases
    assert [engine.key for engine in case.engines] == ["torch-masked", "blockprune"]
    assert case.what.batch == 8
    assert "times as fast as torch, masks held" in " ".join(repr(found).split())
    with pytest.raises(ValueError, match="memory must be False where training is measured"):
        bench.bench_training(model=str(tiny_folder), memory=True)


def test_the_sparse_model_holds_no_dense_copy(tiny_folder, monkeypatch, capsys):  # noqa: F811
    asked = {"name": str(tiny_folder), "case": ("tiny", "block_column:4", 2.0, 1, 8, 1), "seed": 0}
    before = footprint.dense_copies({(16, 16), (32, 16)})  # what other tests may have left
    found = []
    for sparse in (False, True):  # as the children run it, but here: a child imports everything anew
        monkeypatch.setattr(sys, "argv", ["footprint", json.dumps(asked | {"sparse": sparse})])
        monkeypatch.delitem(sys.modules, footprint.__name__, raising=False)
        with bp.threads(1):
            runpy.run_module(footprint.__name__, run_name="__main__")
        found.append(json.loads(capsys.readouterr().out))
    dense, sparse = found
    assert dense["dense_copies"] == before + 12
    assert sparse["dense_copies"] == before
    model = workload.fresh(str(tiny_folder), 0)
    buffers = sum(buffer.nbytes for buffer in model.buffers())
    assert dense["bytes_tensors"] == 4 * sum(p.numel() for p in model.parameters()) + buffers
    assert 0 < sparse["bytes_tensors"] < dense["bytes_tensors"]


def test_dense_copies_are_found():
    held = [torch.zeros(7, 13), torch.zeros(13, 7), torch.zeros(7, 13, dtype=torch.int32)]
    held.append(held[0].view(7, 13))  # the same memory once more
    assert footprint.dense_copies({(7, 13)}) == 2
    held.clear()
    assert footprint.dense_copies({(7, 13)}) == 0


def test_memory_is_measured_in_one_child_a_model(monkeypatch):
    asked = []

    def run(command, **options):
        asked.append(json.loads(command[-1]))
        return subprocess.CompletedProcess(command, 0, '{"bytes_tensors": 5}\n', "")

    monkeypatch.setattr(footprint.subprocess, "run", run)
    found = footprint.footprints("minilm", ModelCase("minilm", "irregular", 2.0, 1, 8, 1), 0)
    assert found == {"torch dense f32": {"bytes_tensors": 5}, "blockprune": {"bytes_tensors": 5}}
    assert [words["sparse"] for words in asked] == [False, True]


def test_a_child_that_fails_says_why(monkeypatch):
    def run(command, **options):
        return subprocess.CompletedProcess(command, 1, "", "Traceback\nMemoryError: too large\n")

    monkeypatch.setattr(footprint.subprocess, "run", run)
    with pytest.raises(RuntimeError, match=r"the measurement failed: MemoryError: too large$"):
        footprint.footprints("minilm", ModelCase("minilm", "irregular", 2.0, 1, 8, 1), 0)
