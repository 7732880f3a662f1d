"""The way back from `sparsify`: the plain model, for whatever reads or runs plain models only."""

from __future__ import annotations

from typing import Any, TypeVar

from torch import nn

from .._common.inference import ordinary_tensors
from ..pruning.families import part_if_there, part_of
from .block_sparse_linear import BlockSparseLinear
from .engine import CompiledForward, encoders_of, heed_activations
from .places import named_sparse_layers
from .whole_call import detach

Model = TypeVar("Model", bound=nn.Module)


@ordinary_tensors
def densify(model: Model) -> Model:
    """Swap every `BlockSparseLinear` of `model` for the `nn.Linear` with the same weights, in place; returns the model.

    A Hugging Face model is then as transformers made it: the GELU stands after its layer again, the encoder runs layer
    by layer, `model.save_pretrained(folder)` writes what `from_pretrained(folder)` reads. Outputs stay the same up to
    the rounding of the precision that the model was made for, and are float32's from now on. Pruned weights are zeros
    that are stored and multiplied, so nothing is smaller or faster than before pruning. A layer that you made with an
    activation yourself becomes `nn.Sequential(linear, nn.GELU())`. A model without such layers is returned as it
    is. An optimiser created before the call holds the old weights: create a new one. Raises TypeError for anything but
    a module, ValueError for a single layer, whose `to_linear()` would do.

    For ONNX, whose operators know no block-sparse product, export a plain copy; ONNX Runtime gives the same outputs:

        plain = bp.densify(copy.deepcopy(model))
        torch.onnx.export(plain, (input_ids,), "model.onnx", dynamo=True)

    >>> from blockprune_lib import BlockStructure, sparsify
    >>> model = sparsify(nn.Sequential(nn.Linear(8, 4)), BlockStructure.block_row(4), keep_dense_above=1.0)
    >>> densify(model)
    Sequential(
      (0): Linear(in_features=8, out_features=4, bias=True)
    )
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module; got {type(model).__name__}")
    if isinstance(model, BlockSparseLinear):
        raise ValueError("model must hold block-sparse layers; it is itself one: model.to_linear() would do")
    detach(model)
    for encoder, paths in encoders_of(model):
        if isinstance(encoder.__dict__.get("forward"), CompiledForward):
            del encoder.forward
        heed_activations(encoder)
        for layer in part_of(encoder, paths.layers):
            inner = part_if_there(layer, paths.inner)
            if isinstance(inner, BlockSparseLinear) and inner.activation is not None:
                layer.set_submodule(paths.activation, _gelu_of_transformers().train(inner.training))
                inner.activation = None
    plain: dict[int, nn.Module] = {}  # a layer may stand in several places
    weights: dict[int, nn.Parameter] = {}  # and a weight in several layers
    for name, module in named_sparse_layers(model).items():
        if id(module) not in plain:
            plain[id(module)] = dense = module.dense()
            linear: Any = dense if isinstance(dense, nn.Linear) else dense.get_submodule("0")
            linear.weight = weights.setdefault(id(module.values), linear.weight)
        model.set_submodule(name, plain[id(module)])
    return model


def _gelu_of_transformers() -> nn.Module:
    from transformers.activations import ACT2FN

    return ACT2FN["gelu"]
