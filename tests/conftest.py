"""Shared settings of the tests: no network, quiet tokenisers, few hypothesis examples, two threads at most."""

import gc
import os

# Read when OpenMP starts, so before torch is imported: waiting threads must not steal the core from the tests.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MPLBACKEND", "agg")

import pytest
import torch
from hypothesis import HealthCheck, settings

from .helpers.small_runs import material, offline, trainings  # noqa: F401  (fixtures)

settings.register_profile(
    "blockprune", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.load_profile("blockprune")
torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture(autouse=True, scope="module")
def _what_stays_is_not_searched_again() -> None:
    # Thousands of tests and compiled functions stay for the whole session; without this the collector goes through all
    # of them again and again, and a training in the last file takes nearly twice as long as alone.
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _same_seed() -> None:
    torch.manual_seed(0)
