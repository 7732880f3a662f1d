"""The encoder's products alone: right for every structure, hot and in turns, with shares of the peak."""

import numpy as np
import pytest

from blockprune_lib import bench
from blockprune_lib.bench import kernel_shares
from blockprune_lib.bench.settings import MatrixCase
from blockprune_lib.kernels.precision import PRECISIONS

HERE = [name for name in kernel_shares.KERNELS if not PRECISIONS[name].missing]


@pytest.mark.parametrize("precision", HERE)
@pytest.mark.parametrize("structure", ["block_column:4", "block_row:16", "tile:16x16", "irregular"])
def test_the_answer_is_numpys(structure, precision):
    case = MatrixCase((50, 70), structure, 3.0, 37, 1)
    problem = kernel_shares.problem_of(case, 5)
    wanted = problem.x.double().numpy() @ problem.weight.double().numpy().T
    atol = kernel_shares.TOLERANCES[precision] * np.abs(wanted).max()
    for key in kernel_shares._keys(precision):
        engine = kernel_shares._engine(key, case, 5, precision)
        engine.run()
        engine.run()
        np.testing.assert_allclose(engine.answer(), wanted, atol=atol)


def test_matrices_in_turns_are_apart(monkeypatch):
    monkeypatch.setattr(kernel_shares, "APART", 1 << 20)
    case = MatrixCase((64, 64), "tile:16x16", 2.0, 16, 1)
    records = kernel_shares._records(case, 0, "float32", many=True)
    assert sum(table.nbytes for _, tables in records for table in tables.values()) >= 1 << 20
    assert len({record["values"][0] for record, _ in records}) == len(records)
    assert len({tables["values"].tobytes() for _, tables in records}) == kernel_shares.DIFFERENT


def test_a_record_has_both_ways_and_comes_back(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel_shares, "APART", 1 << 16)
    monkeypatch.setattr(kernel_shares, "TURN_MS", 0.1)
    found = bench.bench_kernels(shapes=[(32, 48)], structures=["tile:16x16"], tokens=[16], repeats=3, warmup=0)
    [case] = found.cases
    assert [engine.key for engine in case.engines] == ["hot f32", "in turns f32"]
    assert all(engine.error < 1e-5 for engine in case.engines)
    found.save(tmp_path / "k.json")
    assert bench.read(tmp_path / "k.json").to_dict() == found.to_dict()
    assert "in turns f32" in repr(found)


def test_a_precision_without_a_kernel_is_refused(monkeypatch):
    monkeypatch.setattr(kernel_shares, "check_precision", lambda precision: None)
    with pytest.raises(ValueError, match="precisions must be of float32"):
        bench.bench_kernels(precisions=["auto"])
