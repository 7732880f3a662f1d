"""Intervals over rows are kept for the pages, and computed once."""

import json

from blockprune_lib.experiments import records
from tools import paired_rows

from ..helpers.record_of import record_of


def test_what_cannot_be_computed_is_said_and_what_is_known_is_kept(tmp_path, capsys):
    folder = tmp_path / "study"
    folder.mkdir()
    for method in ("gradual", "reweighted"):
        record = record_of(method=method, seed=1)
        records.save(record, folder / f"{record['name']}.json")
    assert paired_rows.main([str(folder)]) == 1  # a record of no text
    assert "1 without text or predictions" in capsys.readouterr().out
    path = tmp_path / "study-rows.json"
    assert json.loads(path.read_text())["rows"] == {}
    found, missing = paired_rows.rows_of(folder, {})
    assert (found, missing) == ({}, 1)
