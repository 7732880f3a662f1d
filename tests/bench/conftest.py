"""What several files of these tests look at: a record of matrices, a record of a tiny model, and its folder."""

import pytest

from blockprune_lib import bench
from tests.helpers.tiny import write

#: Settings of a benchmark of one small matrix.
SMALL = {"shapes": [(32, 48)], "rates": [2.0], "tokens": [8], "repeats": 3, "warmup": 1}


@pytest.fixture(scope="package")
def tiny_folder(tmp_path_factory):
    """A folder with a two-layer BERT, a vocabulary and nothing else."""
    return write(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="package")
def record():
    return bench.bench_matrices(structures=["block_column:16", "tile:16x16"], skip=("torch-compile",), **SMALL)


@pytest.fixture(scope="package")
def model_record(tiny_folder):
    """Two structures beside every rival but those that compile."""
    return bench.bench_model(
        model=str(tiny_folder), structures=["block_column:4", "tile:4x4"], rates=[2.0], tokens=[8], repeats=3, warmup=1,
        skip=("torch-compile", "torch-compile-bf16", "torch-max", "torch-max-bf16"),
    )  # fmt: skip
