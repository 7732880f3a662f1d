"""Rivals that are torch: eager, oneDNN's product, torch.compile with its two usual sets of options, dynamic int8."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from . import dense
from .engine import Calls, UnavailableError, Work, in_a_line

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def eager(work: Work, precision: str) -> Calls:
    """torch with every zero stored."""
    return _calls(work, work.module(DTYPES[precision]), precision)


def onednn(problem: Any, precision: str) -> Calls:
    """oneDNN's dense product of one matrix, every zero stored, where F.linear may call another library."""
    run = dense.onednn(problem.weight, problem.x)
    return Calls(run, problem.answer_of(run))


def compiled(work: Work, precision: str) -> Calls:
    """torch.compile's version of the module, weights frozen in; UnavailableError where nothing compiles it."""
    return _compiled(work, precision, {})


def autotuned(work: Work, precision: str) -> Calls:
    """The same with the options of `mode="max-autotune"`, which tries several kernels for each product."""
    from torch._inductor import list_mode_options

    return _compiled(work, precision, list_mode_options("max-autotune"))


def dynamic_int8(work: Work, precision: str) -> Calls:
    """torch's linear layers in int8: weights rounded once, activations at each call by their own range."""
    try:
        from torch.ao.quantization import quantize_dynamic
    except ImportError:
        raise UnavailableError(f"torch {torch.__version__} has no quantize_dynamic") from None
    with warnings.catch_warnings():  # of its own deprecation
        warnings.simplefilter("ignore")
        return _calls(work, quantize_dynamic(work.module(torch.float32), {torch.nn.Linear}, torch.qint8), "float32")


def _compiled(work: Work, precision: str, options: Mapping[str, Any]) -> Calls:
    dtype = DTYPES[precision]
    module, given = work.module(dtype), work.given(dtype)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):  # autotuning prints its tables
            warnings.simplefilter("ignore")
            quick: Any = torch.compile(module, dynamic=False, options={"freezing": True, **options})
            quick(*given)
    except Exception as error:  # a missing or broken compiler fails anywhere in torch
        raise UnavailableError(f"torch.compile does not work here: {in_a_line(error)}") from None
    return _calls(work, quick, precision)


def _calls(work: Work, module: Any, precision: str) -> Calls:
    given = work.given(DTYPES[precision])
    return Calls(lambda: module(*given), work.answer_of(lambda: module(*given)))
