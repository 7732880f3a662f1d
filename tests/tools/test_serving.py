"""The record of a service under load, and the page's tables made of it."""

import importlib.util
import json
import re

import pytest

from examples.load import Load
from tools import serving, serving_page


def runs(*rates, milliseconds=10.0):
    return [Load(1.0, [milliseconds / 1e3] * rate) for rate in rates]


DENSE, RIVAL, CUT = (f"{what}, float32" for what in (serving.DENSE, serving.OPENVINO, serving.CUT))


def variants():
    return {DENSE: serving.summary(runs(10, 20, 40)), CUT: serving.summary(runs(40, 80, 80))}


def test_a_summary_has_rates_by_round_and_percentiles_over_all_requests():
    found = serving.summary([Load(2.0, [0.01] * 99), Load(1.0, [0.5], failed=2)])
    assert found["per_second"]["values"] == [49.5, 1.0]
    assert found["answered"] == 100
    assert found["failed"] == 2
    assert found["ms"]["p50"] == pytest.approx(10)
    assert found["ms_by_round"]["p50"]["values"] == pytest.approx([10, 500])


def test_a_ratio_is_of_the_same_round_and_to_openvino_where_that_was_run():
    found = variants()
    table = serving.table({"variants": found})
    assert "| engine | per s | to PyTorch | p50, ms | p95, ms |" in table
    assert "| cut, f32 | 80 | 4.00 (2.00 to 4.00) | 10.0 | 10.0 |" in table
    found[RIVAL] = serving.summary(runs(20, 20, 20))
    table = serving.table({"variants": found})
    assert "| engine | per s | to OpenVINO | p50, ms | p95, ms |" in table
    assert "| cut, f32 | 80 | 4.00 (2.00 to 4.00) | 10.0 | 10.0 |" in table
    assert "| PyTorch, f32 | 20 | 1.00 (0.50 to 2.00) | 10.0 | 10.0 |" in table
    assert "| OpenVINO, f32 | 20 | 1 | 10.0 | 10.0 |" in table


def test_a_p99_needs_a_thousand_requests_of_every_variant():
    found = {DENSE: serving.summary(runs(400, 600)), CUT: serving.summary(runs(600, 600))}
    table = serving.table({"variants": found})
    assert "| engine | per s | to PyTorch | p50, ms | p95, ms | p99, ms |" in table
    assert "p99" not in serving.table({"variants": variants()})


def test_every_variant_answers_the_same_requests(monkeypatch):
    sent = {}

    async def closed(url, texts, seconds, clients, requests):
        sent.setdefault(url, []).append((tuple(texts), clients, requests))
        return Load(1.0, [0.01] * requests)

    monkeypatch.setattr("examples.load.closed", closed)
    addresses = {"dense, float32": "http://a", "cut, float32": "http://b"}
    (case,) = serving.measure(addresses, [*"abcdef"], [{"clients": 2, "requests": 5}], rounds=3)
    assert sent["http://a/classify"] == sent["http://b/classify"]
    assert len(set(sent["http://a/classify"])) == 4, "one round more, which is not counted"
    assert [found["answered"] for found in case["variants"].values()] == [15, 15]


def test_variants_are_dense_in_two_engines_compiled_and_cut_in_both_precisions():
    assert len(serving.VARIANTS) == 8
    assert next(iter(serving.VARIANTS.values())) == (serving.DENSE, "float32")


PROVENANCE = {"date": "2026-01-02T03:04", "versions": {"torch": "2.13.0+cpu", "openvino": "2026.4.1", "nncf": None}}


def test_the_page_tells_model_machine_text_and_load(tmp_path, monkeypatch):
    record = {
        "hardware": {"cpu": "A Processor", "usable_cores": 2},
        "text": {"name": "sst2", "source": "folder: glue", "count": 872, "shortest": 4, "longest": 60, "mean": 25.2},
        "provenance": PROVENANCE,
        "threads": 1,
        "most": 32,
        "structure": "block_column:4",
        "rate": 5.0,
        "differences": {"dense, float32": 0.0, "whole": 2e-3},
        "cases": [
            {"load": {"clients": clients, "requests": 20}, "rounds": 3, "variants": variants()} for clients in (16, 1)
        ],
    }
    (tmp_path / "serve-bert-base-avx2.json").write_text(json.dumps(record))
    monkeypatch.setattr(serving_page, "RESULTS", tmp_path)
    page = serving_page.serving()
    assert page.startswith("**bert-base** on A Processor (AVX2); 872 sentences of SST-2")
    assert "2 cores; the model has 1 thread, the rest" in page
    assert "872 sentences of SST-2's validation rows, 4 to 60 tokens, 25 on average" in page
    assert "by 0.002 at most" in page
    assert page.index("*One client*: 3 rounds") < page.index("*16 clients at once*: 3 rounds")
    assert "every engine answered the same 20 requests" in page
    assert "The cut is `block_column:4` at rate 5." in page
    assert "ratios to PyTorch's in the same precision and the same round" in page
    assert "| cut, f32 | 80 | 4.00 (2.00 to 4.00) |" in page
    assert "No request failed." in page
    assert page.index("*p50*, *p95*, *p99*: the ms within which") < page.index("| engine |")
    assert "PyTorch 2.13.0, OpenVINO 2026.4.1; 2026-01-02." in page
    assert "int8" not in page, "there is no record of int8 here"


def test_int8_is_told_where_another_record_has_it_without_the_batches_that_were_disturbed(tmp_path, monkeypatch):
    def engine(key, precision, ms, ratio, apart=1.1):
        ratio = {"value": ratio, "low": ratio - 0.5, "high": ratio + 0.5}
        ms = {"median": ms, "q1": ms, "q3": apart * ms}
        return {"key": key, "name": key, "precision": precision, "ms": ms, "ratio_to_baseline": ratio}

    def case(number, *cut):
        rivals = [engine("torch", "float32", 40, 1.0)]
        rivals += [engine("torch-int8", "int8", 20, 1.0), engine("openvino-int8", "int8", 10, 3.0)]
        ours = engine("blockprune block_column:4 bf16", "bfloat16", *cut)
        what = {"model": "minilm", "rate": 5.0, "tokens": 128, "batch": number, "threads": 2}
        return {"what": what, "engines": [*rivals, ours]}

    cases = [case(1, 20, 1.5), case(2, 5, 4.5), case(3, 10, 3.2), case(4, 10, 3.2, 1.5)]
    record = {"provenance": PROVENANCE, "cases": cases, "hardware": {"cpu": "a processor"}}
    (tmp_path / "bench-batches-avx2.json").write_text(json.dumps(record))
    monkeypatch.setattr(serving_page, "RESULTS", tmp_path)
    (told,) = serving_page._int8("minilm", "avx2")
    assert "(openvino-int8), which" in told
    assert "faster one text at a time (100 to 50), slower in batches of 2 (200 to 400)" in told
    assert "not told apart in batches of 3 (300 to 300)" in told
    assert "batches of 4" not in told
    (source,) = serving_page._source_of_int8("minilm", "avx2")
    assert "128 tokens, no padding, 2 threads; other work disturbed batches of 4" in source
    assert "bench-batches-avx2.json" in source
    assert serving_page._int8("bert-base", "avx2") == serving_page._int8("minilm", "neon") == []


def test_a_difference_is_rounded_up():
    assert serving_page._rounded_up(0.002445) == "0.0025"
    assert serving_page._rounded_up(2e-3) == "0.002"
    assert serving_page._rounded_up(0.0) == "0"


def test_the_head_of_the_page_says_what_the_service_gained():
    told = serving_page.lead()
    assert re.search(r"The cut makes the one call answer [\d.]+ .*times as many requests\.", told)
    assert re.search(r"With nothing cut, beside OpenVINO, it answers [\d.]+ .*with one client and [\d.]+", told)
    assert re.search(r"^\| one call, cut \| \d+ \| \d+ \|$", told, re.M)
    assert re.search(r"lost [\d.]+ to [\d.]+ points of 100 .* in the mean of \d tasks", told)
    assert told.index("**First try int8**") < told.index("| requests a second |")


def test_a_gain_is_of_the_same_round_and_its_ends_are_told():
    cases = [{"variants": {RIVAL: serving.summary(runs(10, 20, 40)), CUT: serving.summary(runs(10, 40, 120))}}]
    assert serving_page._ratios(cases, serving.CUT, serving.OPENVINO) == {(0, "float32"): 2.0}
    assert serving_page._ratios(cases, serving.CUT, serving.WHOLE) == {}


@pytest.mark.skipif(
    not {"openvino", "onnx"} <= {name for name in ("openvino", "onnx") if importlib.util.find_spec(name)},
    reason="needs OpenVINO and onnx",
)
def test_openvino_answers_as_pytorch_does_for_batches_of_any_shape():
    import torch

    theirs, ours = (serving.model_of("minilm", what, "float32") for what in (serving.OPENVINO, serving.DENSE))
    for rows, tokens in ((1, 5), (3, 9)):
        ids = torch.randint(1000, 2000, (rows, tokens))
        mask = torch.ones_like(ids)
        mask[0, 4:] = 0
        with torch.inference_mode():
            right = ours(input_ids=ids, attention_mask=mask).logits
        torch.testing.assert_close(theirs(input_ids=ids, attention_mask=mask).logits, right, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("what", [serving.DENSE, serving.WHOLE, serving.CUT])
def test_a_variant_is_dense_or_compiled(what):
    model = serving.model_of("minilm", what, "float32")
    assert not model.training
    assert hasattr(model.bert.encoder.forward, "last") == (what != serving.DENSE)
    weight = model.bert.encoder.layer[0].output.dense
    assert getattr(weight, "density", 1.0) == pytest.approx(0.2 if what == serving.CUT else 1.0, abs=1e-3)
