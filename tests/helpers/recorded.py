"""Records as small as the rate explorer takes: runs with scores, bytes and times, and a benchmark of an encoder."""


def ratio(value):
    return {"value": value, "low": 0.9 * value, "high": 1.2 * value}


def run(
    seed=1,
    *,
    task="cola",
    structure="irregular",
    method="dense",
    rate=1.0,
    layers=None,
    final=0.3,
    timed=True,
    **options,
):
    blocks = method != "dense"
    options = options | ({"layers": layers} if layers else {})
    engines = {"dense": 1.0, "bfloat16": 2.0, "int8": 3.0, "compiled": 2.5, "compiled bfloat16": 4.5}
    if blocks:
        engines = {"dense": 1.0, "compiled": 1.6 * rate, "compiled bfloat16": 1.9 * rate}
    elif layers:
        engines = {name: value * 6 / layers for name, value in engines.items()} | {"dense": 1.0, "float32": 6 / layers}
    times = {name: {"median_ms": 10 / value, "ratio": ratio(value + seed / 100)} for name, value in engines.items()}
    kept = 10_000_000 // (rate if blocks else 6 / (layers or 6))
    fewer = {"bfloat16": {"matthews": final - 0.01}} | ({} if blocks else {"int8": {"matthews": final - 0.02}})
    return {
        "name": f"{task}-{structure}-{method}-{rate}-{layers}-{seed}",
        "run": {"task": task, "structure": structure, "method": method, "rate": rate, "seed": seed, "options": options},
        "model": {"name": "minilm"}, "metric": "matthews", "examples": 1043, "majority": {"matthews": 0.0},
        "final": {"matthews": final}, "precisions": fewer, "densities": {"w": 1 / rate} if blocks else {},
        "compression": {"bytes_total": 4 * kept + 50_000_000, "pruned": [10_000_000, kept],
                        "sparse_layers": 36 if blocks else 0, "dense_layers": 0 if blocks else 6 * (layers or 6)},
        "latency": {"engines": times, "cpu": "A Processor", "isa": "NEON", "threads": 2} if timed else None,
    }  # fmt: skip


def runs():
    """Dense, two of six layers, and blocks at two rates, with one seed or two."""
    found = [run(seed, final=0.3 + seed / 50) for seed in (1, 2)] + [run(layers=2, final=0.2)]
    found += [run(s, structure="block_column:4", method="gradual", rate=r, final=0.3 - r / 50 + s / 90)
              for r in (3.0, 5.0) for s in (1, 2)]  # fmt: skip
    found += [run(structure="tile:32x32", method="reweighted", rate=5.0, final=0.15, timed=False)]
    return [*found, run(2, task="rte", final=0.6, timed=False)]


def bench():
    """A whole encoder in three engines and two structures, held to other instructions."""

    def engine(key, name, precision, value, **more):
        return {"key": key, "name": name, "precision": precision, "ms": {"median": 100 / value},
                "ratio_to_baseline": ratio(value), **more}  # fmt: skip

    engines = [
        engine("torch", "torch dense f32", "float32", 1.0), engine("openvino", "OpenVINO f32", "float32", 1.6),
        engine("openvino-int8", "OpenVINO int8 by NNCF", "int8", 3.2),
        engine("blockprune a", "blockprune", "float32", 5.1, structure="tile:32x32"),
        engine("blockprune b", "blockprune", "float32", 4.4, structure="block_column:4"),
    ]  # fmt: skip
    what = {"model": "bert-base", "structure": "tile:32x32, block_column:4", "rate": 5.0, "tokens": 128, "threads": 1}
    return {
        "hardware": {"cpu": "Another", "isa": "AVX-512"},
        "provenance": {"environment": {"NUMBA_CPU_NAME": "haswell"}},
        "cases": [{"what": what, "baseline": "torch", "engines": engines}],
    }
