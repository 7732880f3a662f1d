"""A record of a run by hand, for the tests of what is made from records."""


def record_of(
    task="rte",
    model="minilm",
    structure="block_row:64",
    method="reweighted",
    rate=5.0,
    seed=1,
    score=0.7,
    metric="accuracy",
    lam=1e-3,
    dense=0.9,
    majority=0.5,
    examples=200,
):
    """A record in which `score` came out; `lam` is a setting that is no column of a table."""
    stages = {stage: {} for stage in ("fine_tune", "prune", "retrain")} | {"reweight": {"lam": lam}}
    stage = {
        "steps": 10,
        "seconds": 1.5,
        "evaluation_seconds": 0.5,
        "device": "cpu",
        "examples": examples,
        "metric": metric,
        "majority": {metric: majority},
        "before": None,
        "after": {metric: dense},
        "loss": [0.7, 0.6],
        "penalty": None,
        "near_zero": None,
        "refreshes": None,
        "density": None,
        "settings": {"learning_rate": 2e-5},
        "history": [],
    }
    return {
        "format": "blockprune run, version 1",
        "name": f"{task}_{model}_{structure.replace(':', '-')}_{method}_rate{rate:g}_seed{seed}",
        "run": {
            "model": model, "task": task, "structure": structure, "method": method, "seed": seed, "rate": rate,
            "stages": stages, "options": {"preset": "best", "keep_model": True}, "description": None,
        },
        "provenance": {"date": "2026-01-02T03:04:05"},
        "hardware": {"cpu": "A Processor"},
        "model": {"name": model, "sha256": "00"},
        "data": {"name": task, "fingerprint": "11"},
        "metric": metric,
        "examples": examples,
        "majority": {metric: majority},
        "dense": {metric: dense},
        "final": {metric: score},
        "stages": [{"stage": name, **stage} for name in ("fine-tune", "reweight", "retrain")],
        "compression": {"rate_pruned": rate, "rate_parameters": 1.5, "bytes_total": 57_000_000},
        "densities": {"layer": 1 / rate},
    }  # fmt: skip
