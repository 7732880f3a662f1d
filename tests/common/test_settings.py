"""Models that say what a field must be in the library's own words."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from blockprune_lib._common.settings import Number, Positive, Settings, Whole, unknown_name, wanted


class Inner(Settings):
    size: Positive = Field(default=32, examples=[32])


class Example(Settings):
    rate: Number = Field(default=5.0, ge=1, examples=[5.0])
    share: Number = Field(default=0.5, ge=0, le=1)
    count: Whole = 0
    often: Positive | None = None
    way: Literal["fast", "slow"] = "fast"
    flag: bool = False
    inner: Inner = Inner()
    many: list[Whole] = Field(default=[])


WRONG = {
    "below": ({"rate": 0.5}, ValueError, r"^rate must be a number of at least 1; got 0\.5: 5\.0 would do$"),
    "text": ({"rate": "5"}, TypeError, r"^rate must be a number of at least 1; got '5': 5\.0 would do$"),
    "nan": ({"rate": float("nan")}, ValueError, "rate must be a number"),
    "both bounds": ({"share": 2}, ValueError, "share must be a number from 0 to 1; got 2"),
    "true": ({"count": True}, TypeError, "count must be a whole number; got True"),
    "half": ({"count": 1.5}, TypeError, "count must be a whole number"),
    "none or": ({"often": 0}, ValueError, "often must be a whole number of at least 1, or None; got 0"),
    "a word": ({"way": "slwo"}, ValueError, "way must be one of 'fast', 'slow'; got 'slwo'"),
    "no flag": ({"flag": 1}, TypeError, "flag must be True or False; got 1"),
    "inside": ({"inner": {"size": 0}}, ValueError, r"^inner\.size must be a whole number of at least 1; got 0: 32"),
    "in a list": ({"many": [1, "a"]}, TypeError, r"^many\[1\] must be a whole number; got 'a'"),
    "unknown": ({"raet": 2}, ValueError, r"there is no 'raet'; did you mean 'rate'\? \(known: rate, share"),
    "unknown inside": ({"inner": {"sise": 1}}, ValueError, "inner: there is no 'sise'; did you mean 'size'"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(name):
    values, kind, says = WRONG[name]
    with pytest.raises(kind, match=says) as found:
        Example(**values)
    assert type(found.value) is kind
    with pytest.raises(kind, match="here: "):
        Example.of(values, "here")


@given(rate=st.floats(1, 1e9), count=st.integers(-5, 5), way=st.sampled_from(["fast", "slow"]), size=st.integers(1, 9))
def test_a_record_comes_back_from_what_it_says(rate, count, way, size):
    record = Example(rate=rate, count=count, way=way, inner=Inner(size=size))
    assert Example.of(record.to_dict()) == record
    assert record.replace(count=count + 1).count == count + 1
    assert record.count == count


def test_numbers_of_numpy_are_taken_as_pythons_and_an_int_stays_one():
    record = Example(rate=np.float32(2.5), count=np.int64(3))
    assert (type(record.rate), type(record.count), type(Example(rate=2).rate)) == (float, int, int)


def test_a_record_is_frozen_and_a_change_is_checked():
    with pytest.raises(ValueError, match="frozen"):
        Example().rate = 2.0
    with pytest.raises(ValueError, match="rate must be"):
        Example().replace(rate=0)
    with pytest.raises(TypeError, match="the settings must be keys and values; got list"):
        Example.of([])


def test_the_schema_and_the_sentence_say_the_same():
    fields = Example.model_json_schema()["properties"]
    assert wanted(fields["rate"]) == "a number of at least 1"
    assert fields["way"]["enum"] == ["fast", "slow"]
    assert unknown_name("zzz", ["rate"]) == "there is no 'zzz' (known: rate)"
