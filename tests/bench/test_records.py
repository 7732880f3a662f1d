"""A record keeps everything, comes back from its file, and a broken one says what is wrong."""

import copy
import json
import re
from pathlib import Path

import pytest

import blockprune_lib as bp
from blockprune_lib import bench
from blockprune_lib._common import provenance
from blockprune_lib.bench import records
from blockprune_lib.bench.case import Part
from blockprune_lib.bench.rivals import rivals_of

RESULTS = Path(__file__).resolve().parents[2] / "book" / "results"


def test_a_record_has_every_engine_that_is_installed(record):
    tile = record.cases[1]
    ran, skipped = {engine.key for engine in tile.engines}, {entry.engine for entry in tile.skipped}
    assert ran | skipped == {*rivals_of("matrix"), "blockprune"} - {"torch-compile"}
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


@pytest.mark.parametrize("path", sorted(RESULTS.glob("bench-*.json")), ids=lambda path: path.stem)
def test_every_record_of_the_book_is_read_whole(path):
    assert bench.read(path).to_dict() == json.loads(path.read_text())


def needed(model, place=()):
    """The place of each key that a record must have, one of each kind."""
    for name, field in model.model_fields.items():
        if not field.is_required():
            continue
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
