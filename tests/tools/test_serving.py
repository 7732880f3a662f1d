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
    assert "| cut | 80 | 4.0 (3.0 to 4.0) | 10.0 | 10.0 | 10.0 |" in table


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
    assert page.startswith("**bert-base** on A Processor (AVX2), 2 cores, one of them for the model's 1 thread.")
    assert "872 sentences of sst2 (folder: glue), 4 to 60 tokens, 25 on average" in page
    assert "by 0.002 at most" in page
    assert page.index("*One client*, 3 rounds") < page.index("*16 clients at once*, 3 rounds")
    assert "a row answered 70 to 200 requests in all, and none failed" in page


def test_the_page_divides_the_ratio_into_the_call_and_the_cut():
    rates = {serving.DENSE: (10, 10, 20), serving.WHOLE: (20, 40, 40), serving.CUT: (60, 120, 160)}
    found = {f"{what}, float32": serving.summary(runs(*each)) for what, each in rates.items()}
    (told,) = serving_page._factors({"variants": found})
    assert told.endswith("(medians), they are 2.0 and 3.0 in float32.")
    assert serving_page._factors({"variants": variants()}) == []


@pytest.mark.parametrize("what", [serving.DENSE, serving.WHOLE, serving.CUT])
def test_a_variant_is_dense_or_compiled(what):
    model = serving.model_of("minilm", what, "float32")
    assert not model.training
    assert hasattr(model.bert.encoder.forward, "last") == (what != serving.DENSE)
    weight = model.bert.encoder.layer[0].output.dense
    assert getattr(weight, "density", 1.0) == pytest.approx(0.2 if what == serving.CUT else 1.0, abs=1e-3)
