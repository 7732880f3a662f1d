"""Own text from files of every kind gives one and the same task; what is wrong is named by file and column."""

import csv
import json

import pyarrow
import pytest
from pyarrow import parquet

from blockprune_lib.data import hub, own_data

ROWS = [
    {"question": 'said "yes",\nor no', "answer": "naïve — a cat", "verdict": 1},
    {"question": "tab\there", "answer": "dog", "verdict": 0},
    {"question": "the third", "answer": "bad\u2028line", "verdict": 2},
]


def write_csv(path, rows, delimiter=","):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


WRITERS = {
    "csv": write_csv,
    "tsv": lambda path, rows: write_csv(path, rows, "\t"),
    "json": lambda path, rows: path.write_text(json.dumps(rows, indent=1)),
    "jsonl": lambda path, rows: path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)),
    "parquet": lambda path, rows: parquet.write_table(pyarrow.Table.from_pylist(rows), path),
}


def described(folder, kind="jsonl", rows=ROWS, **more):
    path = folder / f"rows.{kind}"
    WRITERS[kind](path, rows)
    plain = {"name": "mine", "train": str(path), "validation": str(path), "text": ["question", "answer"]}
    return plain | {"label": "verdict"} | more


def load(task, **counts):
    own_data.check_description(task)
    return own_data.load(task, counts.get("train"), counts.get("validation"), counts.get("seed", 0))


@pytest.mark.parametrize("kind", WRITERS)
def test_every_kind_of_file_gives_the_same_task(kind, tmp_path):
    task = load(described(tmp_path, kind))
    assert (task.name, task.num_labels, task.primary, task.source) == ("mine", 3, "accuracy", "own text")
    assert task.fingerprint == load(described(tmp_path, "json")).fingerprint
    assert list(task.train["question"]) == [row["question"] for row in ROWS]
    assert list(task.train["answer"]) == [row["answer"] for row in ROWS]
    assert list(task.train["label"]) == [1, 0, 2]
    assert not [path for path in tmp_path.iterdir() if path.name not in (f"rows.{kind}", "rows.json")], "a cache"


@pytest.mark.parametrize(
    ("labels", "numbers", "count"),
    [
        (["no", "yes", "maybe"], [1, 2, 0], 3),
        ([True, False, True], [1, 0, 1], 2),
        ([2, 0, 1], [2, 0, 1], 3),
        ([0.5, 2.0, 1.5], [0.5, 2.0, 1.5], 1),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_labels_of_every_type(kind, labels, numbers, count, tmp_path):
    rows = [row | {"verdict": label} for row, label in zip(ROWS, labels, strict=True)]
    task = load(described(tmp_path, kind, rows))
    assert list(task.validation["label"]) == numbers
    assert task.num_labels == count
    assert task.regression == (count == 1)


def in_two_files(folder, train, validation, kind="csv", **more):
    for split, labels in (("train", train), ("validation", validation)):
        rows = [{"question": f"text {row}", "verdict": label} for row, label in enumerate(labels)]
        WRITERS[kind](folder / f"{split}.{kind}", rows)
    files = {split: str(folder / f"{split}.{kind}") for split in ("train", "validation")}
    return {"name": "mine", "text": "question", "label": "verdict"} | files | more


def test_names_are_numbered_over_both_splits(tmp_path):
    task = load(in_two_files(tmp_path, "bac", "ca"))
    assert (list(task.train["label"]), list(task.validation["label"])) == ([1, 0, 2], [2, 0])
    assert task.label_names == ("a", "b", "c")
    assert task.to_dict()["labels"] == ["a", "b", "c"]


def test_both_files_decide_whether_labels_are_numbers(tmp_path):
    assert load(in_two_files(tmp_path, [0, 1, "unsure"], [0, 1])).label_names == ("0", "1", "unsure")
    assert load(in_two_files(tmp_path, [0.5, 1, 2], [3, 4])).regression


def test_a_metric_and_a_share_of_the_rows(tmp_path):
    task = load(described(tmp_path, metric="matthews", text="answer"), train=2, validation=1, seed=3)
    assert task.primary == "matthews"
    assert (len(task.train), len(task.validation), task.text) == (2, 1, ("answer",))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"labels": "y"}, r"recipe: task: there is no 'labels'; did you mean 'label'\?"),
        ({"name": "rte"}, "name 'rte' is a GLUE task's; choose another"),
        ({"name": 3}, "name must be text that is not empty; got 3"),
        ({"text": ["a", "b", "c"]}, "text must be text that is not empty, or a list of 1 to 2; got"),
        ({"text": []}, "text must be text that is not empty, or a list of 1 to 2; got"),
        ({"text": ["a", 2]}, r"text\[1\] must be text that is not empty; got 2"),
        ({"label": ""}, "label must be text"),
        ({"metric": "f1"}, "metric must be one of .*; got 'f1'"),
        ({"config": "plain"}, "config belongs to hub"),
        ({"train": "rows.txt"}, r"train must end in \.csv.*got 'rows\.txt'"),
        ({"validation": "rows"}, "validation must end in"),
    ],
)
def test_descriptions_that_cannot_be_meant(more, says, tmp_path):
    with pytest.raises((TypeError, ValueError), match=says):
        own_data.check_description(described(tmp_path) | more)


@pytest.mark.parametrize("key", ["name", "train", "validation", "text", "label"])
def test_what_a_description_lacks_is_named(key, tmp_path):
    task = {other: value for other, value in described(tmp_path).items() if other != key}
    with pytest.raises(ValueError, match=f"recipe: task: {key} is missing"):
        own_data.check_description(task)


def test_the_schema_takes_what_the_check_takes(tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    schema = own_data.OwnData.model_json_schema()
    for more in ({}, {"text": "answer"}, {"metric": "matthews"}, {"hub": "owner/name", "config": "plain"}):
        own_data.check_description(described(tmp_path) | more)
        jsonschema.validate(described(tmp_path) | more, schema)
    for more in ({"text": []}, {"text": ["a", 2]}, {"text": ""}, {"metric": "f1"}, {"labels": "y"}, {"name": 3}):
        with pytest.raises((TypeError, ValueError)):
            own_data.check_description(described(tmp_path) | more)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(described(tmp_path) | more, schema)


def without(rows, key):
    return [{other: value for other, value in row.items() if other != key} for row in rows]


@pytest.mark.parametrize(
    ("rows", "more", "says"),
    [
        (ROWS, {"text": "sentence"}, "train has no column 'sentence'; it has 'question', 'answer', 'verdict'"),
        (without(ROWS, "verdict"), {}, "train has no column 'verdict'"),
        ([*ROWS, {"question": "x", "answer": "y"}], {}, "label"),
        ([*ROWS, {"question": None, "answer": "y", "verdict": 0}], {}, "question"),
        ([row | {"verdict": -1} for row in ROWS], {}, "label"),
        ([row | {"verdict": [0]} for row in ROWS], {}, "label"),
        (ROWS, {"metric": "correlation"}, "metric for classes must be one of accuracy, accuracy_f1, matthews; got"),
        (
            [row | {"verdict": 0.5} for row in ROWS],
            {"metric": "accuracy"},
            "metric for a regression must be one of correlation",
        ),
        ([], {}, "it has no columns"),
    ],
)
def test_rows_that_will_not_do_are_named(rows, more, says, tmp_path):
    with pytest.raises((TypeError, ValueError), match=says):
        load(described(tmp_path, "jsonl", rows, **more))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("rows.csv", b"", "cannot be read as csv: it is empty"),
        ("rows.csv", b"question,question\n1,2\n", "cannot be read as csv: two columns are called 'question'"),
        (
            "rows.csv",
            b"a,b\n\nx,1\ny,2,3\n",
            "cannot be read as csv: line 4 has 3 cells, the first line has 2: a cell w",
        ),
        ("rows.csv", b'a,b\nx,1\n"y,2\nz,3\n', "cannot be read as csv: the row that begins in line 3: a quotation beg"),
        ("rows.csv", b'a,b\nx,1\n"y"z,2\n', "cannot be read as csv: the row that begins in line 3: ',' expected aft"),
        (
            "rows.csv",
            "a,b\nx,1\ncaf\xe9,2\n".encode("cp1252"),
            "cannot be read as csv: it must be UTF-8; line 3 has .* 0xe9",
        ),
        ("rows.tsv", "a\tb\n\xfc\t2\n".encode("latin1"), "cannot be read as tsv: it must be UTF-8; line 2 has .* 0xfc"),
        (
            "rows.jsonl",
            '{"a": "\xe9"}'.encode("latin1"),
            "cannot be read as jsonl: it must be UTF-8; line 1 has .* 0xe9",
        ),
        ("rows.csv", "a,b\n".encode("utf-16"), "cannot be read as csv: it must be UTF-8; .*mark of UTF-16"),
        ("rows.csv", "a,b\n".encode("utf-16-le"), "cannot be read as csv: it must be UTF-8; every other byte"),
        (
            "rows.tsv",
            b"a\tb\nx y\n",
            "cannot be read as tsv: line 2 has 1 cells, the first line has 2: a .tsv is read as",
        ),
        ("rows.csv", b"a;b\nx;2\n", "cannot be read as csv: cells must be separated by commas; .* has semicolons"),
        ("rows.json", b"[" * 100_000, "cannot be read as json: lists in lists"),
        ("rows.csv", b"question,answer,verdict\na,b\n", "cannot be read as csv"),
        ("rows.parquet", b"PAR1 cut short", "cannot be read as parquet"),
        ("rows.json", b'[{"question": "a"', "cannot be read as json"),
        ("rows.jsonl", b'{"question": "a"}\n{"quest', "cannot be read as jsonl: line 2"),
        ("rows.jsonl", b'{"question": "a"}\n3\n', "cannot be read as jsonl: row 2 must be an object .*got 3"),
        ("rows.jsonl", b"\xff\xfe\x00", "cannot be read as jsonl"),
    ],
)
def test_damaged_files_are_named(name, content, says, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    task = described(tmp_path, "jsonl") | {"train": str(path), "validation": str(path)}
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"task: train: '.*{name}' {says}"):
        load(task)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"task: validation: there is no file '.*none\.csv'"):
        load(described(tmp_path) | {"validation": str(tmp_path / "none.csv")})


def test_a_data_set_on_the_hub_without_a_network(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(hub, "_answer", None)
    task = {"name": "news", "hub": "owner/name", "train": "train", "validation": "test", "text": "t", "label": "y"}
    with pytest.raises(hub.HubError, match=r"task: owner/name is on the Hub, and .*; files of your own would do"):
        load(task)
