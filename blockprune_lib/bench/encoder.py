"""The benchmark of a whole model: an encoder pruned to a rate, run by every engine that there is.

`bert-base`, `roberta-base` and `distilbert-base` are freshly drawn weights of those shapes: how long a model takes does
not depend on what it learned, and nothing is downloaded. Left out: accuracy, and the time of tokenising.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..pruning.architectures import prunable_weights
from ..pruning.masks import Masks, apply_masks_
from ..pruning.selection import select_model
from ..pruning.structure import BlockStructure
from .encoder_engines import BASELINE, ENGINES, OURS, TOLERANCES, encoder
from .measuring import Case, described, make_all, prepared_on, time_all
from .records import Record
from .settings import ModelSettings

#: Freshly drawn models: name -> (configuration class of transformers, what differs from its defaults).
FRESH: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "bert-base": ("BertConfig", {}),
    "roberta-base": (
        "RobertaConfig",
        {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5},
    ),
    "distilbert-base": ("DistilBertConfig", {}),
}


def bench_model(*, progress: Callable[[str], object] | None = None, **settings: Any) -> Record:
    """Time a whole pruned encoder in every engine, for each combination of the settings; the record prints itself.

    model       "bert-base", "roberta-base", "distilbert-base" (drawn anew), "minilm" (real weights), or a folder
    batches, tokens   each call runs batch x tokens token ids
    memory      measure the bytes of the dense and of the sparse model too, each in a process of its own
    The other settings are those of `bench_matrices`, with the keys of `engines.ENGINES` as peers.

    Every answer is compared with torch's float32 before it is timed. Six copies of the model are alive at once, 4 GB
    for bert-base. Raises as `bench_matrices` does, and ValueError where the model has too few positions for `tokens`.
    """
    chosen = ModelSettings(**settings)
    keys = chosen.chosen(list(ENGINES), (BASELINE, OURS))
    check_name(chosen.model)
    cases = []
    for number, (structure, rate, batch, tokens, threads) in enumerate(chosen.cases(), 1):
        if progress is not None:
            progress(f"case {number}: {chosen.label}, {structure}, rate {rate:g}, batch {batch} x {tokens} tokens")
        cases.append(_case(structure, rate, batch, tokens, threads, keys, chosen))
    return Record.made("model", chosen.to_dict(), cases)


def check_name(name: str) -> None:
    """Raise ValueError unless `fresh` knows the model."""
    if name not in FRESH and name != "minilm" and not Path(name).expanduser().is_dir():
        raise ValueError(f"model: expected one of {', '.join(FRESH)}, minilm or a folder; got {name!r}")


def fresh(name: str, seed: int) -> Any:
    """The encoder called `name`, in evaluation mode, without a pooler or a head. Raises ValueError for an unknown name.

    The global random state is not changed.
    """
    check_name(name)
    if name in FRESH:
        import transformers

        kind, differs = FRESH[name]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model: Any = transformers.AutoModel.from_config(getattr(transformers, kind)(**differs))
    else:
        from ..data import models

        model = models.load(name, seed=seed).model.base_model
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # it reads one token of each sequence, and the answer that is compared does not pass it
    return model.eval()


def pruned(model: nn.Module, structure: BlockStructure, rate: float) -> Masks:
    """Zero all but 1 / rate of the groups of each prunable matrix, in place; returns the masks."""
    masks = select_model(model, structure, rate)
    apply_masks_(model, masks)
    return masks


def token_ids(model: Any, batch: int, tokens: int, seed: int) -> torch.Tensor:
    """(batch, tokens) random ids without the padding token, which RoBERTa counts positions by."""
    generator = torch.Generator().manual_seed(seed)
    vocabulary, padding = int(model.config.vocab_size), getattr(model.config, "pad_token_id", None)
    ids = torch.randint(0, vocabulary, (batch, tokens), generator=generator)
    return ids if padding is None else torch.where(ids == padding, (padding + 1) % vocabulary, ids)


def operations(model: Any, kept: int, batch: int, tokens: int) -> float:
    """Useful operations of a call: 2 a token and kept weight, and the two products of attention, 4 L B T² H."""
    attention = 4.0 * model.config.num_hidden_layers * batch * tokens**2 * model.config.hidden_size
    return 2.0 * batch * tokens * kept + attention


def describe(
    name: str, model: nn.Module, masks: Masks, structure: str, rate: float, batch: int, tokens: int, threads: int
) -> dict[str, Any]:
    """What a case of a model is, as the record keeps it."""
    kept = sum(int(mask.sum()) for mask in masks.values())
    return {
        "model": name,
        "structure": structure,
        "rate": rate,
        "kept": kept,
        "density": kept / sum(weight.numel() for weight in prunable_weights(model).values()),
        "batch": batch,
        "tokens": tokens,
        "threads": threads,
    }


def _case(
    text: str, rate: float, batch: int, tokens: int, threads: int, keys: list[str], chosen: ModelSettings
) -> Case:
    model, structure = fresh(chosen.model, chosen.seed), BlockStructure.parse(text)
    check_tokens(model, chosen.tokens)
    masks = pruned(model, structure, rate)
    what = describe(chosen.label, model, masks, text, rate, batch, tokens, threads)
    ids = token_ids(model, batch, tokens, chosen.seed)
    with encoder(model, structure, ids, threads) as given, prepared_on(threads):
        makers = {key: partial(ENGINES[key], given) for key in keys}
        reference = given.model(ids).double().numpy()
        engines, errors, skipped = make_all(makers, (BASELINE, OURS), reference, TOLERANCES)
        timings, peak = time_all(
            engines, threads, baseline=BASELINE, repeats=chosen.repeats, warmup=chosen.warmup, seed=chosen.seed
        )
    memory = None
    if chosen.memory:
        from .footprint import footprints

        memory = footprints(chosen.model, text, rate, batch, tokens, threads, chosen.seed)
    measured = described(engines, errors, TOLERANCES, threads)
    useful = operations(model, what["kept"], batch, tokens)
    return Case(what, useful, BASELINE, OURS, measured, timings, peak, tuple(skipped), memory)


def check_tokens(model: Any, tokens: tuple[int, ...]) -> None:
    """Raise ValueError where a sequence is longer than the model's positions."""
    config = model.config
    # Where the table of positions has a padding index, as RoBERTa's has, positions are counted from after it.
    table = next((part for name, part in model.named_modules() if name.endswith("position_embeddings")), None)
    padding = getattr(table, "padding_idx", None)
    most = config.max_position_embeddings - (0 if padding is None else padding + 1)
    if max(tokens) > most:
        raise ValueError(f"tokens: {config.model_type} of this size has {most} positions; got {max(tokens)}")
