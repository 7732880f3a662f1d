"""Two checkouts timed in turns: this one stands for both, and a wrong answer or a wrong folder is refused."""

import json

import pytest

from tools import products


def test_every_case_is_told_apart():
    found = [tuple(case.values()) for case in products.cases([1, 2], list(products.KINDS))]
    assert len(set(found)) == len(found)
    assert {what for what, *_ in found} == {"forward", "training"}


def test_both_sides_are_timed():
    workers = (products.Worker(products.HERE), products.Worker(products.HERE))
    try:
        for what in ("forward", "training"):
            case = {"what": what, "shape": (40, 48), "structure": "block_row:16", "tokens": 3, "threads": 1}
            found = products.measured(workers, case, 3)
            assert found["structure"] == "block_row:16"
            assert 0 < found["old_ms"][0] <= found["old_ms"][1] <= found["old_ms"][2]
            assert found["ratio"]["low"] <= found["ratio"]["value"] <= found["ratio"]["high"]
    finally:
        for worker in workers:
            worker.close()


def test_a_record_grows_by_cases_of_the_same_commits(tmp_path):
    record, head = tmp_path / "record.json", {"old": "a", "new": "b"}
    for number in (1, 2):
        products.write(record, head, [{"case": number}])
    assert json.loads(record.read_text())["cases"] == [{"case": 1}, {"case": 2}]
    products.write(record, head | {"new": "c"}, [{"case": 3}])
    assert json.loads(record.read_text())["cases"] == [{"case": 3}]


class Says:
    """A worker that knows its answers."""

    def __init__(self, sums):
        self.sums = sums

    def ask(self, what):
        return self.sums if isinstance(what, dict) else 0.01


def test_other_answers_are_not_timed():
    workers = (Says([1.0, 2.0, 0.0, 0.0]), Says([1.0, 2.1, 0.0, 0.0]))
    with pytest.raises(ValueError, match="both checkouts must give the same answer"):
        products.in_turns(workers, {}, 2)


def test_a_folder_without_the_library_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="OLD must be a checkout"):
        products.Worker(tmp_path)
