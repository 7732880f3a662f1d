"""How block-sparse layers compare, on this machine, with every off-the-shelf way to run the same pruned matrix.

    settings     what to measure, checked
    peers        engines for one matrix
    engines      engines for a whole model
    runtimes     how ONNX Runtime, OpenVINO and torch.compile are started
    measuring    check the answers, then time in turns with the machine's peak
    kernels      the benchmark of one matrix
    encoders     the benchmark of a whole model
    steps        the benchmark of a training step
    footprint    bytes of a model in memory
    records      the JSON record; provenance beside it
    tables, pictures

Their functions stand here too. `blockprune bench` is the same as a command. Left out: accuracy, energy, GPUs.
"""

from __future__ import annotations

from .encoders import bench_model
from .kernels import bench_matrices
from .records import SCHEMA, Record, read
from .steps import bench_training

__all__ = ["SCHEMA", "Record", "bench_matrices", "bench_model", "bench_training", "read"]
