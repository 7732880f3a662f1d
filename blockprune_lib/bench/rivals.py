"""The register of rivals: every off-the-shelf way to run a pruned matrix or model that `blockprune bench` knows.

To add one: write a function `(work, precision) -> Calls` and an entry here. The first entry is the baseline that every
table divides by. Nothing heavy is imported: the command's help lists the keys.
"""

from __future__ import annotations

from typing import NamedTuple

#: What a rival runs: one matrix, a whole model, or both.
MATRIX, MODEL = ("matrix",), ("model",)
BOTH = MATRIX + MODEL
#: How tables write a precision.
SHORT = {"float32": "f32", "bfloat16": "bf16", "int8": "int8", "auto": "auto"}


class Rival(NamedTuple):
    """A way to run a product or a model.

    precision   of its arithmetic: float32, bfloat16 or int8 (of the large products; the rest stays float32)
    make        "file:function" of this package: (work, precision) -> `Calls`
    needs       modules that must be installed
    threads     1 where it runs on one thread whatever is asked
    sorts       with sequences of mixed lengths, also timed sorted by length in small batches, each padded for itself
    """

    key: str
    name: str
    precision: str
    make: str
    runs: tuple[str, ...] = BOTH
    needs: tuple[str, ...] = ()
    threads: int | None = None
    sorts: bool = True


_ONNX = ("onnx", "onnxruntime")
_OPENVINO = ("onnx", "openvino")

#: In the order of the tables.
RIVALS = (
    Rival("torch", "torch dense f32", "float32", "with_torch:eager"),
    Rival("torch-onednn", "torch dense f32 by oneDNN", "float32", "with_torch:onednn", MATRIX),
    Rival("torch-bf16", "torch dense bf16", "bfloat16", "with_torch:eager"),
    Rival("torch-int8", "torch dynamic int8", "int8", "with_torch:dynamic_int8", MODEL),
    Rival("torch-compile", "torch.compile f32", "float32", "with_torch:compiled", sorts=False),
    Rival("torch-compile-bf16", "torch.compile bf16", "bfloat16", "with_torch:compiled", MODEL, sorts=False),
    Rival("torch-max", "torch.compile max-autotune f32", "float32", "with_torch:autotuned", MODEL, sorts=False),
    Rival("torch-max-bf16", "torch.compile max-autotune bf16", "bfloat16", "with_torch:autotuned", MODEL, sorts=False),
    Rival("onnxruntime", "ONNX Runtime f32", "float32", "with_onnxruntime:session", needs=_ONNX),
    Rival("onnxruntime-int8", "ONNX Runtime dynamic int8", "int8", "with_onnxruntime:dynamic_int8", MODEL, _ONNX),
    Rival("openvino", "OpenVINO f32", "float32", "with_openvino:compiled", needs=_OPENVINO),
    Rival("openvino-bf16", "OpenVINO bf16", "bfloat16", "with_openvino:compiled", needs=_OPENVINO),
    Rival("openvino-int8", "OpenVINO int8 by NNCF", "int8", "with_openvino:by_nncf", MODEL, (*_OPENVINO, "nncf")),
    Rival("openvino-qdq", "OpenVINO int8 by ONNX Runtime", "int8", "with_openvino:by_onnxruntime", MODEL,
          (*_ONNX, "openvino")),
    Rival("torch-csr", "torch CSR @ X", "float32", "with_formats:torch_csr", MATRIX),
    Rival("torch-bsr", "torch BSR @ X", "float32", "with_formats:torch_bsr", MATRIX),
    Rival("torch-bsr-linear", "torch BSR F.linear", "float32", "with_formats:torch_bsr_linear", MATRIX),
    Rival("scipy-csr", "SciPy CSR @ X", "float32", "with_formats:scipy_csr", MATRIX, threads=1),
    Rival("scipy-bsr", "SciPy BSR @ X", "float32", "with_formats:scipy_bsr", MATRIX, threads=1),
)  # fmt: skip


def rivals_of(kind: str) -> dict[str, Rival]:
    """The rivals that run a "matrix" or a "model", by their keys.

    >>> list(rivals_of("matrix"))[:2]
    ['torch', 'torch-onednn']
    """
    return {rival.key: rival for rival in RIVALS if kind in rival.runs}
