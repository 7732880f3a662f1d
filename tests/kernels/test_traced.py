"""Whatever looks through a product at operators: torch.compile, export, jit, fx, torch.func, ONNX, modes."""

from __future__ import annotations

import copy
import functools
import io
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

from blockprune_lib import BlockSparseLinear, BlockStructure, PackedMatrix, densify, pack
from blockprune_lib.kernels import linear

from ..helpers.references import structure_texts
from .test_functional import pruned

# of torch.jit, which torch itself calls for the first derivative forwards
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")

COLUMN, ROW = BlockStructure.block_column(16), BlockStructure.block_row(5)


@pytest.fixture(autouse=True)
def _compilers_start_afresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def layer_of(structure: BlockStructure = ROW, shape: tuple[int, int] = (20, 33), **more: Any) -> BlockSparseLinear:
    dense = nn.Linear(shape[1], shape[0])
    with torch.no_grad():
        dense.weight.copy_(pruned(shape, structure, 0.5))
    layer = BlockSparseLinear.from_linear(dense, structure)
    layer.activation = more.get("activation")
    return layer


def exact(layer: BlockSparseLinear) -> Callable[[Tensor], Tensor]:
    """The same layer by torch's own operators."""
    weight, bias = layer.weight.detach(), None if layer.bias is None else layer.bias.detach()
    return lambda x: nn.functional.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))


def near(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


# --- torch.compile and torch.export: one graph, with the operator in it


def test_one_graph_for_any_number_of_tokens_forwards_and_backwards() -> None:
    layer = layer_of(activation="gelu")
    compiled = torch.compile(copy.deepcopy(layer), fullgraph=True, dynamic=True, backend="aot_eager")
    for tokens in (2, 7, 3):
        x = torch.randn(tokens, 33, requires_grad=True)
        y, z = compiled(x), layer(x)
        near(y, z)
        found, wanted = (torch.autograd.grad(out.square().sum(), [x, *m.parameters()])
                         for out, m in ((y, compiled), (z, layer)))  # fmt: skip
        for one, other in zip(found, wanted, strict=True):
            near(one, other)
    with torch.no_grad():
        compiled.values.mul_(2)
    near(compiled(x.detach()), nn.functional.gelu(exact(compiled)(x.detach())))


def test_a_functional_product_compiles_too() -> None:
    packed = pack(pruned((20, 33), COLUMN, 0.5), COLUMN)
    compiled = torch.compile(lambda x: linear(x, packed).relu(), fullgraph=True, backend="aot_eager")
    x = torch.randn(4, 33)
    near(compiled(x), (x @ packed.to_dense().t()).relu())


def test_compiled_under_autocast_the_weights_stay() -> None:
    layer, x = layer_of(), torch.randn(4, 33).bfloat16()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", torch.bfloat16):
        y = compiled(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), exact(layer)(x.float()), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("strict", [False, True])
def test_exported_for_any_number_of_tokens_saved_and_loaded(strict: bool) -> None:
    layer, file = layer_of(), io.BytesIO()
    tokens = torch.export.Dim("tokens", min=2, max=50)
    program = torch.export.export(layer, (torch.randn(4, 33),), dynamic_shapes=({0: tokens},), strict=strict)
    assert any(node.target is torch.ops.blockprune.linear.default for node in program.graph.nodes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of how it stores a program
        torch.export.save(program, file)
        file.seek(0)
        loaded = torch.export.load(file).module()
    for count in (2, 17):
        x = torch.randn(count, 33)
        near(loaded(x), exact(layer)(x))
    with pytest.raises((RuntimeError, AssertionError), match=r"tokens|shape|size"):
        loaded(torch.randn(3, 32))


LOADED_ELSEWHERE = """
import sys, warnings, torch
warnings.simplefilter("ignore")
program, inputs = sys.argv[1], torch.load(sys.argv[2])
try:
    torch.jit.load(program)
except RuntimeError as error:
    assert "blockprune::linear" in str(error)
from blockprune_lib import linear
torch.save(torch.jit.load(program)(inputs), sys.argv[3])
"""


def test_another_process_runs_what_was_saved_once_it_has_the_operators(tmp_path: Path) -> None:
    layer, x, root = layer_of(), torch.randn(4, 33), Path(__file__).parents[2]
    files = [str(tmp_path / name) for name in ("program.pt", "inputs.pt", "outputs.pt")]
    torch.jit.save(torch.jit.trace(layer, torch.randn(2, 33)), files[0])
    torch.save(x, files[1])
    subprocess.run([sys.executable, "-c", LOADED_ELSEWHERE, *files], check=True, cwd=root)
    near(torch.load(files[2]), layer(x))


# --- torch.jit and torch.fx


@pytest.mark.parametrize("text", structure_texts((3, 5), (16, 16)))
def test_traced_saved_and_loaded_it_looks_at_its_input(text: str) -> None:
    layer, file = layer_of(BlockStructure.parse(text)), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit itself
        torch.jit.save(torch.jit.trace(layer, torch.randn(4, 33)), file)
        file.seek(0)
        loaded = torch.jit.load(file)
    for tokens in (4, 9):
        x = torch.randn(tokens, 33)
        near(loaded(x), exact(layer)(x))


def test_a_traced_layer_trains() -> None:
    layer, x = layer_of(), torch.randn(4, 33)
    twin = copy.deepcopy(layer)
    torch.jit.trace(twin, x)(2 * x).square().sum().backward()
    layer(2 * x).square().sum().backward()
    near(twin.values.grad, layer.values.grad)
    near(twin.bias.grad, layer.bias.grad)


def test_script_is_refused_and_leaves_the_model_as_it_was() -> None:
    """torch puts what a layer offers for scripting into the model itself, however the scripting ends."""
    layer, x = layer_of(activation="gelu"), torch.randn(4, 33)
    model = nn.Sequential(nn.Sequential(nn.Linear(33, 33), layer), nn.ReLU())
    before, wanted = [*model.modules()], model(x)
    with pytest.raises(TypeError, match=r"torch\.jit\.script takes no block-sparse layers: torch\.jit\.trace"):
        torch.jit.script(model)
    assert [*model.modules()] == before
    assert torch.equal(model(x), wanted)
    near(torch.jit.script(densify(copy.deepcopy(model)))(x), wanted)


def test_symbolic_and_real_tracing_keep_the_operator() -> None:
    layer, x = layer_of(activation="gelu"), torch.randn(4, 33)
    symbolic = torch.fx.symbolic_trace(nn.Sequential(layer, nn.ReLU()))
    near(symbolic(x), layer(x).relu())
    real = make_fx(torch.func.grad(lambda x: layer(x).square().sum()))(x)
    assert {"blockprune.linear.default", "blockprune.input_gradient.default"} <= {
        str(node.target) for node in real.graph.nodes
    }
    y = torch.randn(4, 33)
    near(real(y), torch.func.grad(lambda x: nn.functional.gelu(exact(layer)(x)).square().sum())(y))


# --- torch.func and forward mode


def cubed(product: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: product(x).pow(3).sum()


@pytest.mark.parametrize(
    "transform",
    [
        torch.func.grad,
        torch.func.hessian,
        lambda f: torch.func.jacrev(torch.func.jacrev(f)),
        lambda f: torch.func.jacfwd(torch.func.grad(f)),
        lambda f: lambda x: torch.func.jvp(f, (x,), (x.flip(0),))[1],
        lambda f: lambda x: torch.func.vjp(torch.func.grad(f), x)[1](x)[0],
        lambda f: lambda x: torch.func.vmap(torch.func.grad(f))(x.expand(3, -1) * torch.arange(3.0)[:, None]),
        lambda f: lambda x: torch.autograd.functional.hessian(f, x, vectorize=True),
        lambda f: lambda x: torch.autograd.functional.hvp(f, x, x)[1],
    ],
)
@pytest.mark.parametrize("structure", [ROW, COLUMN])
def test_transforms_of_any_kind_and_order(structure: BlockStructure, transform: Any) -> None:
    layer, x = layer_of(structure), torch.randn(33)
    found, wanted = transform(cubed(layer))(x), transform(cubed(exact(layer)))(x.double())
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-3)


def test_gradients_of_each_example_for_the_parameters() -> None:
    layer, x = layer_of(COLUMN), torch.randn(5, 33)
    parameters = {name: part.detach() for name, part in layer.named_parameters()}

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(layer, parameters, (x,)).square().sum()

    found = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, x)
    for number in range(5):
        layer.zero_grad()
        layer(x[number]).square().sum().backward()
        near(found["values"][number], layer.values.grad)
        near(found["bias"][number], layer.bias.grad)


def test_an_ensemble_of_layers_with_patterns_of_their_own() -> None:
    keeps = torch.zeros(3, 20, 7, dtype=torch.bool)
    for number, keep in enumerate(keeps):
        keep.view(-1)[torch.randperm(140)[:50]] = True
        assert int(keep.sum()) == 50, number
    layers = [BlockSparseLinear(33, 20, ROW, keep=keep) for keep in keeps]
    parameters, buffers = torch.func.stack_module_state(layers)
    x = torch.randn(4, 33)
    found = torch.func.vmap(
        lambda p, b, x: torch.func.functional_call(layers[0], (p, b), (x,)), (0, 0, None)
    )(parameters, buffers, x)  # fmt: skip
    near(found, torch.stack([exact(layer)(x) for layer in layers]))


def test_many_gradients_at_once() -> None:
    layer, x = layer_of(), torch.randn(4, 33, requires_grad=True)
    grads = torch.randn(3, 4, 20)
    found = torch.autograd.grad(layer(x), [x, layer.values], grads, is_grads_batched=True)
    near(found[0], grads @ layer.weight.detach())
    for number in range(3):
        near(found[1][number], torch.autograd.grad(layer(x), layer.values, grads[number])[0])


def test_dual_numbers() -> None:
    layer, x, t = layer_of(), torch.randn(4, 33), torch.randn(4, 33)
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(layer(forward_ad.make_dual(x, t))).tangent
    near(tangent, t @ layer.weight.detach().t())


@pytest.mark.parametrize("transform", [torch.func.grad, lambda f: lambda x: torch.func.jvp(f, (x,), (x,))[1]])
def test_compiled_transforms(transform: Any) -> None:
    layer, x = layer_of(), torch.randn(4, 33)
    compiled = torch.compile(transform(cubed(layer)), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), transform(cubed(exact(layer)))(x), rtol=1e-4, atol=1e-3)


# --- modes, and tensors without numbers


def test_shapes_without_numbers() -> None:
    layer = layer_of()
    assert copy.deepcopy(layer).to("meta")(torch.empty(4, 33, device="meta")).shape == (4, 20)
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert layer(torch.empty(4, 33)).shape == (4, 20)
    before = layer(torch.ones(2, 33))
    assert type(before) is Tensor


# --- ONNX: dense weights, said


@pytest.mark.parametrize("text", [*structure_texts((16, 5)), "tile:32x32"])
def test_onnx_runs_right_and_says_that_it_is_dense(text: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    layer = layer_of(BlockStructure.parse(text), (40, 33) if "32x" in text else (20, 33), activation="gelu")
    path = str(tmp_path / "layer.onnx")
    with warnings.catch_warnings(record=True) as said, torch.no_grad():
        warnings.simplefilter("always")
        torch.onnx.export(layer, (torch.randn(4, 33),), path, input_names=["x"], dynamo=False)
    assert sum("written to ONNX with dense weights" in str(warning.message) for warning in said) == 1
    x = torch.randn(4, 33)
    found = onnxruntime.InferenceSession(path).run(None, {"x": x.numpy()})[0]
    np.testing.assert_allclose(found, layer(x).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_the_other_exporter_writes_a_file_as_small_as_the_packed_weights(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    layer, path = BlockSparseLinear.from_linear(nn.Linear(300, 200), COLUMN), tmp_path / "layer.onnx"
    small = BlockSparseLinear(300, 200, COLUMN, keep=torch.rand(13, 300) < 0.1)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(small, (torch.randn(4, 300),), str(path), input_names=["x"], dynamo=True, external_data=False)
    assert path.stat().st_size < layer.values.nbytes / 4
    x = torch.randn(4, 300)
    found = onnxruntime.InferenceSession(path).run(None, {"x": x.numpy()})[0]
    np.testing.assert_allclose(found, small(x).detach().numpy(), rtol=1e-4, atol=1e-5)


# --- the sentences are the same ones


@pytest.mark.parametrize(
    "look",
    [
        lambda f: torch.func.vmap(f),
        lambda f: torch.func.grad(lambda x: f(x).sum()),
        lambda f: functools.partial(torch.func.jvp, f),
    ],
)
def test_what_does_not_fit_is_said_in_the_same_words(look: Any) -> None:
    layer, x = layer_of(), torch.randn(4, 32)
    given = ((x,), (x,)) if isinstance(look(layer), functools.partial) else (x,)
    with pytest.raises(ValueError, match=r"x must have shape \(\.\.\., 33\) for a 20 x 33 matrix"):
        look(layer)(*given)
    packed = PackedMatrix(ROW, (20, 33), layer.values, layer.columns, layer.offsets)
    with pytest.raises(TypeError, match=r"x must have the type of the weights, torch.float32; got torch.float64"):
        torch.func.vmap(lambda x: linear(x, packed))(torch.randn(4, 33).double())
