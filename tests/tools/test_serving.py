"""The record of a service under load, and the page's tables made of it."""

import json

import pytest

from examples.load import Load
from tools import serving, serving_page


def runs(*rates, milliseconds=10.0):
    return [Load(1.0, [milliseconds / 1e3] * rate) for rate in rates]


def variants():
    found = {"dense, float32": serving.summary(runs(10, 20, 40)), "cut": serving.summary(runs(40, 80, 80))}
    return serving.with_ratios(found)


def test_a_summary_has_rates_by_round_and_percentiles_over_all_requests():
    found = serving.summary([Load(2.0, [0.01] * 99), Load(1.0, [0.5], failed=2)])
    assert found["per_second"]["values"] == [49.5, 1.0]
    assert found["answered"] == 100
    assert found["failed"] == 2
    assert found["ms"]["p50"] == pytest.approx(10)
    assert found["ms_by_round"]["p50"]["values"] == pytest.approx([10, 500])


def test_a_ratio_is_of_the_same_round():
    found = variants()
    assert found["dense, float32"]["ratio"]["median"] == 1
    assert found["cut"]["ratio"]["values"] == [4, 4, 2]
    table = serving.table({"variants": found})
    assert "| cut | 80 | 4.0 (3.0 to 4.0) |  | 10.0 | 10.0 |" in table
    assert "p99" not in table


def test_a_p99_needs_a_thousand_requests_of_every_variant():
    found = {"dense, float32": serving.summary(runs(400, 600)), "cut, float32": serving.summary(runs(600, 600))}
    table = serving.table({"variants": serving.with_ratios(found)})
    assert "| engine | per s | to dense f32 | to same | p50 | p95 | p99 |" in table
    assert "| cut, f32 | 600 | 1.2 (1.1 to 1.4) | 1.2 | 10.0 | 10.0 | 10.0 |" in table


def test_every_variant_answers_the_same_requests(monkeypatch):
    sent = {}

    async def closed(url, texts, seconds, clients, requests):
        sent.setdefault(url, []).append((tuple(texts), clients, requests))
        return Load(1.0, [0.01] * requests)

    monkeypatch.setattr("examples.load.closed", closed)
    addresses = {"dense, float32": "http://a", "cut, float32": "http://b"}
    (case,) = serving.measure(addresses, [*"abcdef"], [{"clients": 2, "requests": 5}], rounds=3)
    assert sent["http://a/classify"] == sent["http://b/classify"]
    assert len(set(sent["http://a/classify"])) == 3
    assert [found["answered"] for found in case["variants"].values()] == [15, 15]


def test_variants_are_dense_compiled_and_cut_in_both_precisions():
    assert len(serving.VARIANTS) == 6
    assert next(iter(serving.VARIANTS.values())) == (serving.DENSE, "float32")


def test_the_page_tells_model_machine_text_and_load(tmp_path, monkeypatch):
    record = {
        "hardware": {"cpu": "A Processor", "usable_cores": 2},
        "text": {"name": "sst2", "source": "folder: glue", "count": 872, "shortest": 4, "longest": 60, "mean": 25.2},
        "threads": 1,
        "most": 32,
        "differences": {"dense, float32": 0.0, "whole": 2e-3},
        "cases": [
            {"load": {"clients": clients, "seconds": 2.0}, "rounds": 3, "variants": variants()} for clients in (16, 1)
        ],
    }
    (tmp_path / "serve-bert-base-avx2.json").write_text(json.dumps(record))
    monkeypatch.setattr(serving_page, "RESULTS", tmp_path)
    page = serving_page.serving()
    assert page.startswith("**bert-base** on A Processor (AVX2), 2 cores; the model has 1 thread")
    assert "872 sentences of sst2 (folder: glue), 4 to 60 tokens, 25 on average" in page
    assert "by 0.002 at most" in page
    assert page.index("*One client*: 3 rounds") < page.index("*16 clients at once*: 3 rounds")
    assert "every engine had 2 s, with sentences drawn anew. An engine answered 70 to 200 requests in all" in page
    assert "a p99 needs 1,000 requests an engine" in page


def test_a_difference_is_rounded_up():
    assert serving_page._rounded_up(0.002445) == "0.0025"
    assert serving_page._rounded_up(2e-3) == "0.002"
    assert serving_page._rounded_up(0.0) == "0"


def test_batches_show_the_fastest_dense_engine_of_each_precision(tmp_path, monkeypatch):
    def engine(key, precision, ms, error=0.0):
        return {"key": key, "name": key, "precision": precision, "ms": {"median": ms}, "error": error}

    what = {"threads": 1, "lengths": [4, 8], "batch": 2, "model": "bert-base", "rate": 5.0}
    engines = [
        engine("torch", "float32", 100), engine("torch-sorted", "float32", 50), engine("openvino", "float32", 20),
        engine("openvino-int8", "int8", 10, 0.008), engine("openvino-int8-sorted", "int8", 5, 0.008),
        engine("blockprune a f32", "float32", 4), engine("blockprune b f32", "float32", 3),
    ]  # fmt: skip
    record = {"hardware": {"cpu": "A Processor"}, "cases": [{"what": what, "engines": engines}]}
    (tmp_path / "bench-lengths-avx2.json").write_text(json.dumps(record))
    monkeypatch.setattr(serving_page, "RESULTS", tmp_path)
    rows = [line for line in serving_page.batches().splitlines() if line.startswith("| ")][1:]
    assert rows == ["| torch | 20 | 40 | 0 |", "| openvino | 100 |  | 0 |", "| openvino-int8 | 200 | 400 | 0.8 |",
                    "| *cut*, b f32 | 667 |  | 0 |"]  # fmt: skip


def test_what_a_cut_costs_is_told_with_its_interval_and_tasks():
    told = serving_page.accuracy()
    assert "at rate 5 (`block_column:4`) it lost" in told
    assert "95 % interval over seeds" in told


def test_the_page_divides_the_ratio_into_the_call_and_the_cut():
    rates = {serving.DENSE: (10, 10, 20), serving.WHOLE: (20, 40, 40), serving.CUT: (60, 120, 160)}
    found = {f"{what}, float32": serving.summary(runs(*each)) for what, each in rates.items()}
    (told,) = serving_page._factors({"load": {"clients": 1}, "variants": found})
    assert told == "Factors of the compiled call and of the cut, medians over rounds: 2.0 and 3.0 in float32."
    (told,) = serving_page._factors({"load": {"clients": 16}, "variants": found})
    assert "the compiled call, which also leaves out padding, and of the cut" in told
    assert serving_page._factors({"load": {"clients": 1}, "variants": variants()}) == []


@pytest.mark.parametrize("what", [serving.DENSE, serving.WHOLE, serving.CUT])
def test_a_variant_is_dense_or_compiled(what):
    model = serving.model_of("minilm", what, "float32")
    assert not model.training
    assert hasattr(model.bert.encoder.forward, "last") == (what != serving.DENSE)
    weight = model.bert.encoder.layer[0].output.dense
    assert getattr(weight, "density", 1.0) == pytest.approx(0.2 if what == serving.CUT else 1.0, abs=1e-3)
