"""Text for training: from a folder, the Hub or the generator; checked row by row; encoded; told in one line."""

import gzip
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockprune_lib import models, tasks
from blockprune_lib.data import glue, hub

from ..helpers.tiny import tiny_folder  # noqa: F401  (a fixture)

GLUE_DIR = os.environ.get("BLOCKPRUNE_GLUE_DIR", "")
RTE = [
    {"sentence1": "The cat sat.", "sentence2": "A cat sat.", "label": 0, "idx": 0},
    {"sentence1": "The dog sat not.", "sentence2": "The dog sat.", "label": 1, "idx": 1},
    {"sentence1": "Ein schöner Tag – ‘yes’.", "sentence2": "", "label": 1, "idx": 2},
]


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """No GLUE folder, no network, nothing cached."""
    monkeypatch.delenv("BLOCKPRUNE_GLUE_DIR", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "_answer", None)


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A GLUE folder of this test's own, named by the variable."""
    monkeypatch.setenv("BLOCKPRUNE_GLUE_DIR", str(tmp_path / "texts"))
    for split in ("train", "validation"):
        write(tmp_path / "texts" / "rte" / f"{split}.jsonl.gz", RTE)
    return tmp_path / "texts"


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    with gzip.open(path, "wb") as file:
        file.write("".join(line + "\n" for line in lines).encode())


@pytest.fixture(scope="module")
def tokenizer(tiny_folder):  # noqa: F811
    return models.load(tiny_folder).tokenizer


# --- where the text comes from ---


def test_a_folder_is_read_as_it_stands(folder, capsys):
    task = tasks.load("rte")
    assert task.source == "folder: texts"
    for part in (task.train, task.validation):
        for row, expected in zip(part, RTE, strict=True):
            assert row == {key: expected[key] for key in ("sentence1", "sentence2", "label")}
    assert capsys.readouterr().out == "Text: rte, folder: texts, 3 to train on, 3 to score on\n"


def test_a_relative_folder_is_taken_from_where_we_are(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("BLOCKPRUNE_GLUE_DIR", "texts")
    assert len(tasks.load("rte", verbose=False).train) == 3


def test_mnli_has_a_second_validation_set_where_the_folder_has(folder):
    rows = [{"premise": "A.", "hypothesis": "B.", "label": label} for label in (0, 1, 2)]
    for split in ("train", "validation"):
        write(folder / "mnli" / f"{split}.jsonl.gz", rows)
    assert tasks.load("mnli", verbose=False).mismatched is None
    write(folder / "mnli" / "validation_mismatched.jsonl.gz", rows[:2])
    assert len(tasks.load("mnli", verbose=False).mismatched) == 2


def test_without_folder_and_hub_the_generator_steps_in_and_says_so(capsys):
    task = tasks.load("sst2", train=20, validation=10)
    assert task.source == "built-in"
    said = "Text: sst2, built-in sentences (no GLUE folder; the Hub is not reachable), 20 to train on, 10 to score on\n"
    assert capsys.readouterr().out == said
    assert (len(tasks.load("sst2", verbose=False).train), capsys.readouterr().out) == (3000, "")


@pytest.mark.parametrize("name", tasks.NAMES)
def test_every_task_loads_scores_and_prints(name, tokenizer):
    task = tasks.load(name, train=12, validation=8, verbose=False)
    assert task.text == glue.GLUE[name].text
    assert task.regression == (name == "stsb")
    assert task.num_labels == {"stsb": 1, "mnli": 3}.get(name, 2)
    assert task.primary in task.majority
    train, validation = task.encode(tokenizer)
    assert (len(train), len(validation)) == (12, 8)
    assert validation["labels"][:] == task.validation["label"][:]
    record = json.loads(json.dumps(task.to_dict()))
    assert (record["source"], record["train_rows"]) == ("built-in", 12)
    for part in (name, "built-in", "12", task.fingerprint, *task.label_names):
        assert part in repr(task)


def test_asking_for_a_source_never_falls_back(folder, monkeypatch):
    assert tasks.load("rte", source="built-in", train=2, verbose=False).source == "built-in"
    with pytest.raises(hub.HubError, match="nyu-mll/glue"):
        tasks.load("rte", source="hub")
    monkeypatch.delenv("BLOCKPRUNE_GLUE_DIR")
    with pytest.raises(ValueError, match="BLOCKPRUNE_GLUE_DIR, which is not set"):
        tasks.load("rte", source="folder")


# --- choosing rows ---


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 1000))
def test_a_smaller_draw_is_part_of_a_larger_one(small, large, seed):
    small, large = sorted((small, large))
    first, second = tasks._draw(50, small, seed), tasks._draw(50, large, seed)
    assert set(first) <= set(second)
    assert list(first) == sorted(set(first))
    assert len(first) == min(small, 50)
    assert list(first) == list(tasks._draw(50, small, seed))


def test_draws_differ_by_seed_and_the_fingerprint_tells(folder):
    rows = [{"sentence1": f"Cat {i}.", "sentence2": "Cat.", "label": i % 2} for i in range(40)]
    write(folder / "rte" / "train.jsonl.gz", rows)
    prints = {
        (count, seed): tasks.load("rte", train=count, seed=seed, verbose=False).fingerprint
        for count in (10, 20)
        for seed in (0, 1)
    }
    assert len(set(prints.values())) == 4
    assert tasks.load("rte", train=10, verbose=False).fingerprint == prints[10, 0]


def test_more_rows_than_there_are_gives_all_and_says_so(folder, capsys):
    assert len(tasks.load("rte", train=100).train) == 3
    assert "100 train rows asked for, 3 are there" in capsys.readouterr().out


# --- broken folders ---


def broken(folder, rows, split="train", task="rte"):
    path = folder / task / f"{split}.jsonl.gz"
    write(path, rows)
    with pytest.raises(ValueError, match=r"jsonl\.gz") as caught:
        tasks.load(task)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{not json", "must be one JSON object"),
        ("[1, 2]", "must be one JSON object"),
        ("", "must be one JSON object"),
        ('{"sentence1": "a", "label": 1}', "no column 'sentence2'; it has 'sentence1', 'label'"),
        ("{}", "no column 'sentence1'; it has no columns"),
        ('{"sentence1": "a", "sentence2": "b"}', "no column 'label'"),
        ('{"sentence1": "a", "sentence2": null, "label": 1}', "'sentence2' must be text; got None"),
        *(
            (
                f'{{"sentence1": "a", "sentence2": "b", "label": {label}}}',
                "'label' must be one of 0 (entailment), 1 (not_ent",
            )
            for label in ("2", "-1", "0.5", "1.0", '"1"', "true", "null", "NaN")
        ),
    ],
)
def test_a_broken_line_is_named(folder, line, message):
    said = broken(folder, [RTE[0], RTE[1], line, RTE[2]])
    assert "line 3" in said
    assert message in said


@pytest.mark.parametrize("label", ["5.1", "-0.1", "NaN", "Infinity", '"3"', "null", "true"])
def test_a_similarity_out_of_range_is_named(folder, label):
    write(folder / "stsb" / "validation.jsonl.gz", [{"sentence1": "a", "sentence2": "b", "label": 5}])
    said = broken(folder, [f'{{"sentence1": "a", "sentence2": "b", "label": {label}}}'], task="stsb")
    assert "line 1: 'label' must be a finite number from 0 to 5; got" in said


def test_an_empty_file_is_named(folder):
    assert "at least one row" in broken(folder, [], split="validation")


def test_a_missing_file_is_named(folder):
    (folder / "rte" / "validation.jsonl.gz").unlink()
    with pytest.raises(ValueError, match=r"rte.validation\.jsonl\.gz is missing"):
        tasks.load("rte")
    with pytest.raises(ValueError, match=r"wnli.train\.jsonl\.gz is missing"):
        tasks.load("wnli")


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-9], lambda raw: raw[:40], lambda raw: b"plain text\n", lambda raw: b""]
)
def test_a_truncated_or_plain_file_is_named(folder, damage):
    path = folder / "rte" / "train.jsonl.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"not a whole gzip file|at least one row") as caught:
        tasks.load("rte")
    assert str(path) in str(caught.value)


def test_a_flipped_byte_is_told(folder):
    path = folder / "rte" / "train.jsonl.gz"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"train\.jsonl\.gz"):
        tasks.load("rte")


def test_bytes_that_are_no_utf8_are_told_with_their_line(folder):
    path = folder / "rte" / "train.jsonl.gz"
    with gzip.open(path, "wb") as file:
        file.write(json.dumps(RTE[0]).encode() + b'\n{"sentence1": "\xff\xfe"}\n')
    with pytest.raises(ValueError, match=r"train\.jsonl\.gz, line 2"):
        tasks.load("rte")


@pytest.mark.parametrize("value", ["no/such/folder", "/no/such/folder"])
def test_a_variable_that_names_no_folder_is_an_error(monkeypatch, value):
    monkeypatch.setenv("BLOCKPRUNE_GLUE_DIR", value)
    with pytest.raises(ValueError, match="BLOCKPRUNE_GLUE_DIR: there is no folder"):
        tasks.load("rte")


def test_a_broken_parquet_in_the_cache_is_named(tmp_path):
    repository = tmp_path / "cache" / "datasets--nyu-mll--glue"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("e" * 40)
    for split in ("train", "validation"):
        path = repository / "snapshots" / ("e" * 40) / "rte" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"PAR1 and nothing more")
    with pytest.raises(ValueError, match=r"train-00000-of-00001\.parquet is not a readable parquet file"):
        tasks.load("rte")


# --- encoding ---


def test_encoding_is_the_tokenizers_own(folder, tokenizer):
    task = tasks.load("rte", verbose=False)
    train, _ = task.encode(tokenizer, max_length=6)
    for row, source in zip(train, RTE, strict=True):
        expected = tokenizer([source["sentence1"]], [source["sentence2"]], truncation=True, max_length=6)
        assert {key: [row[key]] for key in expected} == dict(expected)
        assert row["labels"] == source["label"]
        assert len(row["input_ids"]) <= 6
    assert task.encode(tokenizer, max_length=6)[0] is train
    assert task.encode(tokenizer, max_length=8)[0] is not train


def test_texts_are_cut_to_what_the_model_takes(tokenizer):
    data = {"sentence": ["cat " * 200, "cat"], "label": [0, 1]}
    train, _ = tasks.from_datasets({"train": data, "validation": data}).encode(tokenizer)
    assert [len(ids) for ids in train["input_ids"]] == [64, 3]


def test_nothing_is_written(folder, tokenizer, tmp_path, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in Path.home().glob(".cache/huggingface/**/*")}
    task = tasks.load("rte", verbose=False)
    train, validation = task.encode(tokenizer)
    assert train.cache_files == validation.cache_files == task.train.cache_files == []
    assert {path: path.stat().st_mtime_ns for path in Path.home().glob(".cache/huggingface/**/*")} == before


@pytest.mark.parametrize("length", [0, -1, 1.5, True, None])
def test_bad_lengths(folder, tokenizer, length):
    with pytest.raises((ValueError, TypeError), match="max_length"):
        tasks.load("rte", verbose=False).encode(tokenizer, max_length=length)


def test_no_tokenizer(folder):
    with pytest.raises(TypeError, match="tokenizer"):
        tasks.load("rte", verbose=False).encode("minilm")


# --- scores ---


def test_the_majority_score_is_that_of_the_commonest_training_label(folder):
    write(folder / "rte" / "validation.jsonl.gz", [RTE[0], RTE[0], RTE[0], RTE[1]])
    task = tasks.load("rte", verbose=False)  # training: label 1 twice of three
    assert task.majority == {"accuracy": 0.25}


# --- your own text ---

REVIEWS = {"review": ["good", "bad", "fine"], "stars": [1, 0, 2], "place": ["a", "b", "c"]}


def test_own_text_from_dicts_and_datasets(tokenizer):
    from datasets import Dataset, DatasetDict

    dicts = tasks.from_datasets({"train": REVIEWS, "validation": REVIEWS}, text="review", label="stars", name="mine")
    both = DatasetDict({split: Dataset.from_dict(REVIEWS) for split in ("train", "validation")})
    sets = tasks.from_datasets(both, text=["review"], label="stars", name="mine")
    assert dicts == sets or dicts.fingerprint == sets.fingerprint
    assert (sets.num_labels, sets.metric_set, sets.source, sets.name) == (3, "accuracy", "own text", "mine")
    assert len(sets.encode(tokenizer)[0]) == 3
    assert len(tasks.from_datasets(both, text="review", label="stars", train=2).train) == 2


def test_own_regression_and_pairs():
    data = {**REVIEWS, "score": [0.5, 1.5, 99.0]}
    task = tasks.from_datasets({"train": data, "validation": data}, text=("review", "place"), label="score")
    assert (task.regression, task.num_labels, task.metric_set) == (True, 1, "correlation")
    assert task.majority == {"pearson": 0.0, "spearman": 0.0, "mean": 0.0}


def test_class_names_are_kept():
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"review": Value("string"), "stars": ClassLabel(names=["low", "high", "top"])})
    data = Dataset.from_dict({key: REVIEWS[key] for key in ("review", "stars")}, features=features)
    task = tasks.from_datasets({"train": data, "validation": data}, text="review", label="stars")
    assert task.label_names == ("low", "high", "top")


@pytest.mark.parametrize(
    ("data", "arguments", "message"),
    [
        ({"train": REVIEWS}, {}, "'train' and 'validation'"),
        ({"train": REVIEWS, "validation": REVIEWS}, {"text": "words"}, "train has no column 'words'; it has 'review'"),
        ({"train": REVIEWS, "validation": REVIEWS}, {"label": "y"}, "no column 'y'"),
        ({"train": REVIEWS, "validation": REVIEWS}, {"text": ("review", "place", "x")}, "one or two"),
        (
            {"train": REVIEWS, "validation": REVIEWS},
            {"metric": "correlation"},
            "metric for classes must be one of accuracy",
        ),
        ({"train": REVIEWS, "validation": [1]}, {}, "validation must be a Dataset or a dict"),
        ({"train": REVIEWS, "validation": {"review": [], "stars": []}}, {}, "at least one row"),
        ({"train": REVIEWS, "validation": {"review": ["a"], "stars": [1, 2]}}, {}, "columns of one length"),
        (
            {"train": REVIEWS, "validation": {"review": ["a"], "stars": [-1]}},
            {},
            r"validation, row 0: label 'stars' must be one of 0 \(0\)",
        ),
        ({"train": REVIEWS, "validation": {"review": [3], "stars": [1]}}, {}, "'review' must be text; got 3"),
        ({"train": REVIEWS, "validation": {"review": ["a"], "stars": ["1"]}}, {}, "label 'stars' must be a f"),
    ],
)
def test_bad_own_text(data, arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        tasks.from_datasets(data, **{"text": "review", "label": "stars", **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "imdb"}, "cola, sst2.*from_datasets"),
        ({"name": "sst2", "source": "web"}, "source"),
        ({"name": "sst2", "train": 0}, "train"),
        ({"name": "sst2", "validation": -1}, "validation"),
        ({"name": "sst2", "train": 2.5}, "train"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        tasks.load(**arguments)


@pytest.mark.skipif(not Path(GLUE_DIR or "/no/such").is_dir(), reason="BLOCKPRUNE_GLUE_DIR is not set")
@pytest.mark.parametrize("name", tasks.NAMES)
def test_real_glue(name, monkeypatch):
    monkeypatch.setenv("BLOCKPRUNE_GLUE_DIR", str(Path(GLUE_DIR).resolve()))
    task = tasks.load(name, train=50, validation=50, verbose=False)
    assert (len(task.train), len(task.validation)) == (50, 50)
    assert task.source.startswith("folder: ")
