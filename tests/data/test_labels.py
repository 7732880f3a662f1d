"""Labels of every type are numbered alike, keep their names, and are refused by row where they will not do."""

import enum
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas
import pyarrow
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value
from hypothesis import given
from hypothesis import strategies as st

from blockprune_lib import tasks
from blockprune_lib.data import labels

TEXT = ["a", "b", "c", "d"]


class Mood(enum.IntEnum):
    SAD, GLAD = 0, 1


def task_of(label, **more):
    rows = {"sentence": TEXT[: len(label)], "label": label}
    return tasks.from_datasets({"train": rows, "validation": rows}, **more)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"])
def test_numpy_and_torch_and_pandas_of_any_integer_type(dtype):
    plain = [True, False, True, True] if dtype == "bool" else [1, 0, 2, 1]
    kinds = [
        np.array(plain, dtype),
        torch.tensor(plain, dtype=getattr(torch, dtype)),
        pandas.Series(plain, dtype=dtype),
    ]
    for values in (*kinds, list(kinds[0]), list(kinds[1]), pyarrow.chunked_array([kinds[0]])):
        task = task_of(values)
        assert list(task.train["label"]) == list(map(int, plain))
        assert task.num_labels == max(plain) + 1
        assert task.fingerprint == task_of(plain).fingerprint


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, torch.float16, torch.bfloat16, torch.float64])
def test_floats_of_any_type_are_a_regression(dtype):
    values = [0.5, 1.0, 2.25, 3.0]
    made = torch.tensor(values, dtype=dtype) if isinstance(dtype, torch.dtype) else np.array(values, dtype)
    task = task_of(made)
    assert list(task.train["label"]) == values
    assert "a regression" in task.describe()
    assert "regression" in repr(task)


def test_other_numbers():
    assert task_of([Fraction(1, 2), Decimal("0.25"), 1, 2.0]).train["label"][:] == [0.5, 0.25, 1.0, 2.0]
    assert task_of([Mood.GLAD, Mood.SAD, Mood.GLAD]).train["label"][:] == [1, 0, 1]


def test_data_frames_and_tables():
    frame = pandas.DataFrame({"sentence": TEXT, "label": ["no", "yes", "no", "yes"]})
    table = pyarrow.Table.from_pandas(frame)
    made = [
        tasks.from_datasets({"train": data, "validation": data}) for data in (frame, table, Dataset.from_pandas(frame))
    ]
    assert len({task.fingerprint for task in made}) == 1
    assert {task.label_names for task in made} == {("no", "yes")}


@pytest.mark.parametrize("form", ["numpy", "torch", None])
def test_datasets_in_any_format_keep_the_names(form):
    features = Features({"sentence": Value("string"), "label": ClassLabel(names=["low", "high"])})
    data = Dataset.from_dict({"sentence": TEXT, "label": [1, 0, 1, 0]}, features=features).with_format(form)
    task = tasks.from_datasets({"train": data, "validation": data})
    assert (task.label_names, list(task.train["label"])) == (("low", "high"), [1, 0, 1, 0])


@given(st.lists(st.text("abcÄ 1", min_size=1, max_size=3).filter(str.strip), min_size=2, max_size=30))
def test_names_are_places_in_alphabetical_order(names):
    stripped = [name.strip() for name in names]
    if len(set(stripped)) < 2:
        with pytest.raises(ValueError, match="label 'y' must have two classes or more"):
            labels.number({"train": names, "validation": names[:1]}, "y")
        return
    found = labels.number({"train": names, "validation": names[:1]}, "y")
    assert list(found.names) == sorted(set(stripped))
    assert [found.names[place] for place in found.values["train"]] == stripped
    assert found.values["validation"] == found.values["train"][:1]


@given(st.lists(st.one_of(st.integers(-3, 3).map(str), st.floats(0, 1).map(str), st.sampled_from(["", "x", "007"]))))
def test_cells_keep_their_order_and_lose_nothing(cells):
    found = labels.from_cells(cells)
    kinds = {type(value) for value in found if value != ""}
    for cell, value in zip(cells, found, strict=True):
        assert value == cell or float(value) == float(cell)
    assert kinds <= {str, float} or kinds == {int}


@pytest.mark.parametrize("blank", [None, "", "   ", float("nan"), np.nan, pandas.NA, pandas.NaT, np.float32("nan")])
@pytest.mark.parametrize("others", [["yes", "no"], [1, 0], [0.5, 1.5]])
def test_a_blank_is_refused_by_row(blank, others):
    with pytest.raises(ValueError, match="train, row 2: label 'label' must not be blank; got"):
        task_of([*others, blank])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (["a", "b", 3], r"row 2: label 'label' must be text, as most are; got 3: leave the row out"),
        ([0, 1, True], r"row 2: label 'label' must be a finite number, as most are; got True"),
        ([0.5, 1.5, "n/a"], r"row 2: label 'label' must be a finite number, as most are; got 'n/a'"),
        ([0.5, 1.5, float("inf")], r"row 2: label 'label' must be a finite number; got inf"),
        ([0, 1, -1], r"row 2: label 'label' must be one of 0 \(0\), 1 \(1\); got -1: leave the row out"),
        ([0, 1, 10**9], r"row 2: label 'label' must be one of 0 \(0\), .*; got 1000000000: number the classes from 0"),
        ([[0], [1]], r"row 0: label 'label' must be a finite number, as most are; got \[0\]"),
        ([b"a", b"b"], r"row 0: label 'label' must be a finite number, as most are; got b'a'"),
        (["a", "a"], "label 'label' must have two classes or more; all rows have 'a'"),
    ],
)
def test_what_will_not_do_is_refused_by_row(values, says):
    with pytest.raises(ValueError, match=says):
        task_of(values)


@pytest.mark.parametrize(
    ("train", "validation", "says"),
    [
        (
            ["a", "b"],
            ["a", "c"],
            "validation, row 1: label 'y' must be one that training rows have; got 'c', which none",
        ),
        ([0, 1], [0, 2], "validation, row 1: label 'y' must be one that training rows have; got '2', which none has"),
        (
            [False, False],
            [False, True],
            r"got 'true', which none has: leave the row out, or add rows to train on",
        ),
    ],
)
def test_a_label_that_is_never_trained_on_is_refused_by_row(train, validation, says):
    with pytest.raises(ValueError, match=says):
        labels.number({"train": train, "validation": validation}, "y")


def test_a_name_of_the_data_set_that_no_row_is_trained_on():
    with pytest.raises(ValueError, match=r"validation, row 0: .* got 2 \(top\)"):
        labels.number({"train": [0, 1], "validation": [2]}, "y", known=["low", "high", "top"])


def test_a_class_without_rows_is_said():
    task = task_of([1, 2, 3])
    assert task.num_labels == 4
    assert task.notes == ("no row has the label 0",)
    assert "no row has the label 0" in task.describe()


def test_whole_numbers_with_a_point_are_said_aloud():
    with pytest.warns(
        UserWarning, match=r"my text: 'label' has whole numbers with a point \(0\.0, 1\.0, 2\.0\).*write them"
    ):
        task = task_of([0.0, 1.0, 2.0])
    assert task.regression
    assert "regression" in task.describe()
    assert "for classes write them without, or ask for metric accuracy" in repr(task)


def test_a_metric_says_what_whole_numbers_with_a_point_are():
    classes = task_of([0.0, 1.0, 2.0], metric="accuracy")
    assert (classes.num_labels, classes.fingerprint) == (3, task_of([0, 1, 2]).fingerprint)
    assert task_of([0.0, 1.0], metric="correlation").regression  # and says nothing: it was asked for
    with pytest.raises(ValueError, match="metric for a regression must be one of correlation; got 'accuracy'"):
        task_of([0.0, 1.5], metric="accuracy")


def test_half_a_pair_of_surrogates_is_refused():
    rows = {"sentence": ["fine", "\ud800"], "label": [0, 1]}
    with pytest.raises(ValueError, match="train, row 1: 'sentence' must be text that UTF-8 can write"):
        tasks.from_datasets({"train": rows, "validation": rows})
