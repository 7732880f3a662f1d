"""A run that went wrong says so: a score of the majority class, before the end too; a penalty that moved nothing."""

from types import SimpleNamespace

import pytest

from blockprune_lib.experiments.flags import flags


def stage(after=0.8, near_zero=None, name="reweight"):
    return SimpleNamespace(stage=name, after={"accuracy": after}, near_zero=near_zero)


@pytest.mark.parametrize(
    ("final", "stages", "said"),
    [
        (0.8, [stage()], []),
        (0.8, [stage(near_zero=(0.1, 0.5))], []),
        (0.6, [stage()], ["collapsed: accuracy 0.600, the majority class has 0.600"]),
        (0.8, [stage(0.5, name="fine-tune"), stage()], ["collapsed after fine-tune"]),
        (0.8, [stage(0.5)], []),  # what comes after the last stage is the final score
        (0.8, [stage(near_zero=(0.1, 0.105))], ["moved nothing: 10.0% of groups near zero before, 10.5% after"]),
    ],
)
def test_what_is_said(final, stages, said):
    found = flags("accuracy", {"accuracy": 0.6}, {"accuracy": final}, stages)
    assert len(found) == len(said)
    assert all(words in flag for words, flag in zip(said, found, strict=True))
