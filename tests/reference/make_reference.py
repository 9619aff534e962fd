"""Writes ops.safetensors, layers.safetensors and optim.safetensors: what PyTorch computes, read by test_*.cc beside it.

    python3 -m venv venv && venv/bin/pip install torch==2.13.0 safetensors==0.8.0 numpy
    venv/bin/python make_reference.py

Everything is computed in f64. Inputs, weights and upstream gradients have f32's precision, so that a test in f32 begins
with the same numbers; what f32 holds exactly is stored as f32. Each case draws from a generator of its own, seeded by
its name: a new case changes no other.
"""

import math
import pathlib
import zlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

torch.set_num_threads(1)


# What a case's inputs are drawn by: functions of a generator. Leaves get gradients, constants do not.


def draw(g, shape, low, high):
    return (low + (high - low) * torch.rand(shape, generator=g, dtype=torch.float32)).double()


def constant(*shape, low=-2.0, high=2.0):
    return lambda g: draw(g, shape, low, high)


def leaf(*shape, low=-2.0, high=2.0):
    return lambda g: draw(g, shape, low, high).requires_grad_()


def positive(*shape):
    return leaf(*shape, low=0.3, high=2.2)


def off_zero(*shape):
    """Of either sign, 0.2 or more from 0."""
    return lambda g: (draw(g, shape, 0.2, 2) * torch.where(draw(g, shape, -1, 1) < 0, -1.0, 1.0)).requires_grad_()


def few_values(*shape):
    """-1, 0 or 1, so that some are equal."""
    return lambda g: torch.randint(-1, 2, shape, generator=g).double()


def mask(*shape, true=0.6):
    return lambda g: draw(g, shape, 0, 1) < true


def given(values, dtype=torch.float64):
    values = torch.tensor(values, dtype=dtype)
    assert values.float().double().equal(values.double())
    return lambda g: values.clone().requires_grad_(dtype == torch.float64)


def indices(values):
    return given(values, torch.int64)


def generator_of(name):
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))


class File:
    def __init__(self):
        self.tensors = {}

    def put(self, key, tensor):
        assert key not in self.tensors, key
        tensor = tensor.detach().clone().contiguous()
        exact = tensor.dtype == torch.float64 and tensor.float().double().equal(tensor)
        self.tensors[key] = tensor.float() if exact else tensor

    def put_all(self, case, what, tensors):
        """Tensors by number; what is None is left out."""
        for i, tensor in tensors.items():
            if tensor is not None:
                self.put(f"{case}/{what}{i}", tensor)

    def save(self, name):
        path = pathlib.Path(__file__).parent / name
        save_file(self.tensors, path, metadata={"torch": torch.__version__.split("+")[0]})
        print(name, path.stat().st_size, "bytes,", len({k.split("/")[0] for k in self.tensors}), "cases")


def numbered(tensors):
    return dict(enumerate([tensors] if isinstance(tensors, torch.Tensor) else tensors))


def with_gradient(tensors):
    return {i: tensor for i, tensor in tensors.items() if tensor.requires_grad}


def gradients(of, by, dys=None, **options):
    """The gradient of sum_i <of_i, dys_i> with respect to each of `by`."""
    outputs, dys = list(of.values()), None if dys is None else list(dys.values())
    return dict(zip(by, torch.autograd.grad(outputs, list(by.values()), dys, **options)))


# ops.safetensors: x0, x1, .. and y0, ..; if there are gradients dy0, .. and dx0, .., and of sum_i <dx_i, v_i> the
# gradients ddx0, .. and ddy0, ... What stands behind a colon in a name tells inputs of one function apart.

ops = File()


def op(name, f, *inputs, second=True):
    g = generator_of(name)
    xs = numbered([x(g) for x in inputs])
    ys = numbered(f(*xs.values()))
    ops.put_all(name, "x", xs)
    ops.put_all(name, "y", ys)
    leaves, results = with_gradient(xs), with_gradient(ys)
    if not results:
        return
    dys = {i: draw(g, y.shape, -2, 2).requires_grad_() for i, y in results.items()}
    dxs = gradients(results, leaves, dys, create_graph=second)
    ops.put_all(name, "dy", dys)
    ops.put_all(name, "dx", dxs)
    if not second:
        return
    vs = {i: draw(g, dx.shape, -2, 2) for i, dx in dxs.items()}
    total = sum((dxs[i] * vs[i]).sum() for i in dxs)
    ops.put_all(name, "v", vs)
    ops.put_all(name, "ddx", gradients({0: total}, leaves, allow_unused=True, retain_graph=True))
    ops.put_all(name, "ddy", gradients({0: total}, dys, allow_unused=True))


# Arithmetic, broadcast in several ways, and with numbers.
for name, f, kind_a, kind_b in [
    ("add", torch.add, leaf, leaf),
    ("sub", torch.sub, leaf, leaf),
    ("mul", torch.mul, leaf, leaf),
    ("div", torch.div, leaf, off_zero),
    ("pow", torch.pow, positive, leaf),
    ("maximum", torch.maximum, leaf, leaf),
    ("minimum", torch.minimum, leaf, leaf),
]:
    op(f"{name}:same", f, kind_a(3, 5), kind_b(3, 5))
    op(f"{name}:row", f, kind_a(3, 5), kind_b(5))
    op(f"{name}:outer", f, kind_a(4, 1), kind_b(3, 1, 5))
    op(f"{name}:scalar", f, kind_a(), kind_b(7))
op("pow:zero", torch.pow, given([0.0, 0.0, 1.5, 0.0]), given([2.0, 0.0, 0.0, 1.5]), second=False)
op("pow:negative", torch.pow, given([-1.5, -0.5, -2.0]), lambda g: torch.tensor([3.0, 2.0, -1.0]).double())
op("maximum:equal", torch.maximum, given([1.0, 2.0, -3.0]), given([1.0, 0.5, -3.0]), second=False)
op("minimum:equal", torch.minimum, given([1.0, 2.0, -3.0]), given([1.0, 0.5, -3.0]), second=False)
op("add.number", lambda x: x + 1.7, leaf(3, 5))
op("sub.number", lambda x: x - 1.7, leaf(3, 5))
op("number.sub", lambda x: 1.7 - x, leaf(3, 5))
op("mul.number", lambda x: x * -1.3, leaf(3, 5))
op("div.number", lambda x: x / 0.7, leaf(3, 5))
op("number.div", lambda x: 0.7 / x, off_zero(3, 5))
op("negative", lambda x: -x, leaf(3, 5))
for exponent in [1.7, -1.5, 0.5]:
    op(f"pow.{exponent}", lambda x: x**exponent, positive(3, 5))
for exponent in [0, 1, 2, 3, -1]:
    op(f"pow.{exponent}", lambda x: x**exponent, off_zero(3, 5), second=exponent != 0)

# Functions of one element: near 0 and, where they level off, far from it.
for name, f, kind in [
    ("exp", torch.exp, leaf),
    ("log", torch.log, positive),
    ("sqrt", torch.sqrt, positive),
    ("rsqrt", torch.rsqrt, positive),
    ("abs", torch.abs, off_zero),
    ("neg", torch.neg, leaf),
    ("sin", torch.sin, leaf),
    ("cos", torch.cos, leaf),
    ("tanh", torch.tanh, leaf),
    ("erf", torch.erf, leaf),
    ("square", torch.square, leaf),
    ("reciprocal", torch.reciprocal, off_zero),
    ("sigmoid", torch.sigmoid, leaf),
    ("relu", torch.relu, off_zero),
    ("gelu", F.gelu, leaf),
    ("gelu.tanh", lambda x: F.gelu(x, approximate="tanh"), leaf),
    ("silu", F.silu, leaf),
    ("softplus", F.softplus, leaf),
    ("clamp", lambda x: torch.clamp(x, -0.9, 1.1), leaf),
]:
    op(f"{name}:near", f, kind(3, 5))
    if name in ("sin", "cos", "tanh", "erf", "sigmoid", "relu", "gelu", "gelu.tanh", "silu", "softplus"):
        op(f"{name}:far", f, leaf(2, 7, low=-15, high=15))
op("abs:zero", torch.abs, given([-1.0, 0.0, 2.0]), second=False)
op("relu:zero", torch.relu, given([-1.0, 0.0, 2.0]), second=False)
op("clamp.bounds", lambda x: torch.clamp(x, -0.5, 1.25), given([-0.5, 1.25, 0.0, 2.0]), second=False)
op("step", lambda x: torch.heaviside(x, torch.tensor(0.0).double()), few_values(3, 5))
op("sign", torch.sign, few_values(3, 5))
op("inside", lambda x: ((x >= -1) & (x <= 0)).double(), few_values(3, 5))

# Comparisons and logic.
for name, f in [
    ("less", torch.lt),
    ("less_equal", torch.le),
    ("greater", torch.gt),
    ("greater_equal", torch.ge),
    ("equal", torch.eq),
    ("not_equal", torch.ne),
]:
    op(f"{name}:floats", f, few_values(3, 5), few_values(5))
    op(f"{name}:integers", f, indices([[3, 1, 2]]), indices([[1], [2], [5]]))
    op(f"{name}.number", lambda x: f(x, 0), few_values(3, 5))
op("logical_and", torch.logical_and, mask(3, 5), mask(5))
op("logical_or", torch.logical_or, mask(3, 1), mask(5))
op("logical_not", torch.logical_not, mask(3, 5))
for true in [0.0, 0.5, 1.0]:
    op(f"any:{true}", torch.any, mask(3, 5, true=true))
    op(f"all:{true}", torch.all, mask(3, 5, true=true))
op("all_finite:yes", lambda x: x.isfinite().all(), constant(3, 5))
op("all_finite:no", lambda x: x.isfinite().all(), lambda g: torch.tensor([1.0, -math.inf, 2.0]).double())

# where, masked_fill, cast
op("where:same", torch.where, mask(3, 5), leaf(3, 5), leaf(3, 5))
op("where:broadcast", torch.where, mask(4, 1, 5), leaf(3, 1), leaf(5))
op("masked_fill:same", lambda x, m: x.masked_fill(m, -1.5), leaf(3, 5), mask(3, 5))
op("masked_fill:broadcast", lambda x, m: x.masked_fill(m, -1.5), leaf(3, 4, 5), mask(4, 1))
op("cast", lambda x: x.float().double(), leaf(3, 5))
op("cast.integers", lambda x: x.double(), indices([[3, -1, 2]]))

# Reductions of (3, 4, 5)
AXES = {
    "all": ((0, 1, 2), False),
    "0": ((0,), False),
    "-1": ((-1,), False),
    "1,2": ((1, 2), True),
    "0,2": ((0, 2), False),
}


def variance(correction):
    return lambda x, axes, keepdim: torch.var(x, axes, correction=correction, keepdim=keepdim)


def argmax(x, axes, keepdim):
    """The place among the axes' elements in row-major order."""
    axes = [axis % x.ndim for axis in axes]
    others = [axis for axis in range(x.ndim) if axis not in axes]
    y = x.permute(others + axes).flatten(len(others)).argmax(-1)
    return y.reshape([1 if i in axes else n for i, n in enumerate(x.shape)]) if keepdim else y


for axes_name, (axes, keepdim) in AXES.items():
    for name, f in [
        ("sum", torch.sum),
        ("mean", torch.mean),
        ("var", variance(1)),
        ("max", torch.amax),
        ("min", torch.amin),
    ]:
        op(f"{name}.{axes_name}", lambda x: f(x, axes, keepdim=keepdim), leaf(3, 4, 5))
    op(f"argmax.{axes_name}", lambda x: argmax(x, axes, keepdim), constant(3, 4, 5))
op("var.biased", lambda x: torch.var(x, (0, 2), correction=0), leaf(3, 4, 5))
op("max.0:equal", lambda x: torch.amax(x, 0), given([[1.0, 2.0], [1.0, 3.0], [0.5, 3.0]]), second=False)
op("min.0:equal", lambda x: torch.amin(x, 0), given([[1.0, 2.0], [1.0, 2.0], [0.5, 3.0]]), second=False)
op("argmax.0:equal", lambda x: argmax(x, [0], False), lambda g: torch.tensor([[1.0, 2], [1, 3], [0.5, 3]]).double())
op("sum_to.row", lambda x: x.sum_to_size(1, 5), leaf(3, 4, 5))
op("sum_to.column", lambda x: x.sum_to_size(4, 1), leaf(3, 4, 5))
op("sum_to.one", lambda x: x.sum_to_size(()), leaf(3, 5))

# Shapes
op("reshape", lambda x: x.reshape(5, -1), leaf(3, 4, 5))
op("reshape.transposed", lambda x: x.transpose(0, 1).reshape(15), leaf(3, 5))
op("flatten", lambda x: x.flatten(1, 2), leaf(3, 2, 4, 2))
op("transpose", lambda x: x.transpose(-2, -1), leaf(3, 4, 5))
op("transpose.outer", lambda x: x.transpose(0, 2), leaf(3, 4, 5))
op("permute", lambda x: x.permute(2, 0, 3, 1), leaf(3, 2, 4, 2))
op("unsqueeze", lambda x: x.unsqueeze(1), leaf(3, 5))
op("squeeze", lambda x: x.squeeze(1), leaf(3, 1, 5))
op("expand", lambda x: x.expand(4, 3, 5), leaf(3, 1))
op("slice", lambda x: x[:, 1:4], leaf(3, 5))
op("slice.step", lambda x: x[1:-1:2], leaf(7, 3))
op("select", lambda x: x[:, -2], leaf(3, 4, 5))
op("concat", lambda *xs: torch.cat(xs, 1), leaf(3, 2), leaf(3, 4), leaf(3, 1))
op("stack", lambda *xs: torch.stack(xs, 1), leaf(3, 4), leaf(3, 4), leaf(3, 4))
op("unbind", lambda x: x.unbind(1), leaf(4, 3, 2))
op("contiguous", lambda x: x.transpose(0, 1).contiguous(), leaf(3, 5))

# Integers as axes, scalars, parts, vectors, numbers beside tensors
op("squeeze.all", lambda x: x.squeeze(), leaf(1, 3, 1, 5))
op("squeeze.several", lambda x: x.squeeze((0, 1, -1)), leaf(1, 3, 1))
op("expand.-1", lambda x: x.expand(2, -1, 4), leaf(3, 1))
op("split", lambda x: x.split(2, 1), leaf(3, 5))
op("split.sizes", lambda x: x.split([1, 3, 1], 1), leaf(3, 5))
op("chunk", lambda x: x.chunk(3, -1), leaf(2, 7))
op("clone", lambda x: x.clone(), leaf(3, 4))
op("detach", lambda x: x * x.detach(), leaf(3, 4))
op("scalar.softmax", lambda x: x * x.softmax(0), leaf())
op("scalar.log_softmax", lambda x: x * x.log_softmax(-1), leaf())
op("scalar.logsumexp", lambda x: x.logsumexp(0).square(), leaf())
op("scalar.amax", lambda x: x.amax(-1).square(), leaf())
op("scalar.gather", lambda x, i: x.gather(0, i).square(), leaf(), indices([0, 0]))
op("scalar.index_select", lambda x, i: x.index_select(0, i).square(), leaf(), indices([0]))
op("scalar.scatter_add", lambda x, i, s: x.scatter_add(0, i, s).square(), leaf(), indices([0, 0]), leaf(2))
op("scalar.index_add", lambda x, i, s: x.index_add(0, i, s).square(), leaf(), indices([0]), leaf())
op("dot", torch.dot, leaf(5), leaf(5))
op("outer", torch.outer, leaf(3), leaf(4))
op("matmul.vector", torch.matmul, leaf(2, 3, 4), leaf(4))
op("matmul.vector left", torch.matmul, leaf(3), leaf(2, 3, 4))
op("pow.of a number", lambda x: torch.pow(1.75, x), leaf(3, 4))
op("pow.of 0", lambda x: torch.pow(0, x), given([0.5, 1.0, 2.0]), second=False)
op("maximum.number", lambda x: torch.maximum(x, torch.tensor(0.5).double()), leaf(3, 4))
op("minimum.number", lambda x: torch.minimum(x, torch.tensor(0.5).double()), given([0.5, 1.0, -2.0]), second=False)
op("clamp.tensors", torch.clamp, leaf(3, 4), leaf(4, low=-2, high=0), leaf(3, 1, low=0.5, high=2))
op("clamp.tensors:ties", torch.clamp, given([1.0, 2.0, 3.0, 0.0]), given([1.0, 0.0, 4.0, -1.0]),
   given([2.0, 2.0, 1.0, 1.0]), second=False)
op("clamp.low alone", lambda x, low: torch.clamp(x, min=low), leaf(3, 4), leaf(4))

# Indices
SCATTERED = [[2, 0, 1, 2], [1, 1, 1, 0], [0, 2, 2, 2], [1, 0, 0, 1], [2, 2, 0, 1]]
op("gather.1", lambda x, i: x.gather(1, i), leaf(3, 4), indices([[3, 0], [1, 1], [2, 3]]))
op("gather.-2", lambda x, i: x.gather(-2, i), leaf(3, 4), indices(SCATTERED))
op("scatter_add.1", lambda x, i, s: x.scatter_add(1, i, s), leaf(3, 4), indices([[3, 0], [1, 1], [2, 3]]), leaf(3, 2))
op("scatter_add.0", lambda x, i, s: x.scatter_add(0, i, s), leaf(3, 4), indices(SCATTERED), leaf(5, 4))
op("index_select.1", lambda x, i: x.index_select(1, i), leaf(3, 4, 2), indices([3, 0, 3, 1, 2, 3]))
op("index_select.-3", lambda x, i: x.index_select(-3, i), leaf(3, 4, 2), indices([2, 2, 0]))
op("index_add.0", lambda x, i, s: x.index_add(0, i, s), leaf(3, 4), indices([2, 0, 2, 2, 1]), leaf(5, 4))
op("index_add.-2", lambda x, i, s: x.index_add(-2, i, s), leaf(2, 3, 2), indices([1, 1, 0, 1]), leaf(2, 4, 2))
op("embedding", lambda w, i: F.embedding(i, w), leaf(4, 3), indices([[3, 0, 3], [1, 3, 1]]))
op("one_hot", lambda i: F.one_hot(i, 4).double(), indices([[3, 0, 1], [2, 2, 0]]))

# Integers and booleans, of which nothing has a gradient.
FACTORS = indices([[3, -1, 2, 0], [-4, 5, 1, 7], [2, 2, -6, 1]])
for name, f in [
    ("add", torch.add),
    ("sub", torch.sub),
    ("mul", torch.mul),
    ("maximum", torch.maximum),
    ("minimum", torch.minimum),
]:
    op(f"{name}:integers", f, FACTORS, indices([[2], [-3], [4]]))
    op(f"{name}:wrapping", f, indices([2**62, -(2**62), -7]), indices([2**62, 2**62 + 2**61, -(2**63)]))
    if name != "sub":
        op(f"{name}:bools", f, mask(3, 5), mask(5))
op("integers.plus", lambda x: x + 2, FACTORS)
op("neg:integers", torch.neg, FACTORS)
op("abs:integers", torch.abs, FACTORS)
op("square:integers", torch.square, FACTORS)
op("sign:integers", torch.sign, FACTORS)
op("clamp.integers", lambda x: torch.clamp(x, -2, 3), FACTORS)
for name, f in [("sum", torch.sum), ("max", torch.amax), ("min", torch.amin)]:
    op(f"{name}.0:integers", lambda x: f(x, 0), FACTORS)
    op(f"{name}.-1:integers", lambda x: f(x, -1), FACTORS)
op("sum.0:bools", lambda x: torch.sum(x, 0), mask(3, 5))
op("argmax.0:integers", lambda x: torch.argmax(x, 0), FACTORS)
op("cumsum.0:integers", lambda x: torch.cumsum(x, 0), FACTORS)
op("cumsum.0:bools", lambda x: torch.cumsum(x, 0), mask(3, 5))
op("prod.1:integers", lambda x: torch.prod(x, 1), FACTORS)
op("scatter_add.1:integers", lambda x, i, s: x.scatter_add(1, i, s), FACTORS, indices([[3, 0], [1, 1], [2, 3]]), indices([[5, -1], [2, 2], [3, 4]]))
op("index_add.0:integers", lambda x, i, s: x.index_add(0, i, s), FACTORS, indices([2, 0, 2]), indices([[1, 2, 3, 4], [5, 6, 7, 8], [-9, 8, 7, 6]]))

# Order
TIES = given([[2.0, 1.0, 2.0, 1.0, 0.5], [0.0, 3.0, -1.0, 3.0, 7.0], [7.0, 1.0, -7.0, 7.0, 1.0]])
for axis in (0, 1):
    for down in (False, True):
        op(f"sort.{axis}.{down}", lambda x: torch.sort(x, dim=axis, descending=down, stable=True), leaf(3, 5))
        op(f"sort.{axis}.{down}:ties", lambda x: torch.sort(x, dim=axis, descending=down, stable=True), TIES)
        op(f"sort.{axis}.{down}:integers", lambda x: torch.sort(x, dim=axis, descending=down, stable=True), FACTORS)
        op(f"topk.{axis}.{down}", lambda x: torch.topk(x, 2, axis, down), leaf(3, 5))
    op(f"max_with_indices.{axis}", lambda x: torch.max(x, axis), leaf(3, 5))
    op(f"max_with_indices.{axis}:integers", lambda x: torch.max(x, axis), FACTORS)
    op(f"min_with_indices.{axis}", lambda x: torch.min(x, axis), leaf(3, 5))
    op(f"argmin.{axis}", lambda x: torch.argmin(x, axis), constant(3, 5))

# Scans and other reductions
op("cumsum.0", lambda x: torch.cumsum(x, 0), leaf(3, 4, 5))
op("cumsum.-2", lambda x: torch.cumsum(x, -2), leaf(3, 4, 5))
op("prod.all", torch.prod, leaf(3, 4))
op("prod.1", lambda x: torch.prod(x, 1), leaf(3, 4, 5))
op("prod.1:zeros", lambda x: torch.prod(x, 1), given([[0.0, 2.0, 3.0, -1.0], [0.0, 0.0, 3.0, 5.0], [0.5, 2.0, -3.0, 0.0]]))
for axes_name, (axes, keepdim) in AXES.items():
    op(f"stddev.{axes_name}", lambda x: torch.std(x, axes, keepdim=keepdim), leaf(3, 4, 5))
    op(f"logsumexp.axes.{axes_name}", lambda x: torch.logsumexp(x, axes, keepdim=keepdim), leaf(3, 4, 5))
    for p in (1, 2, 3, 0.5, math.inf):
        op(f"norm.{axes_name}.{p}", lambda x: torch.linalg.vector_norm(x, p, axes, keepdim=keepdim), off_zero(3, 4, 5))
op("stddev.-1:equal", lambda x: torch.std(x, -1), given([[1.5, 1.5, 1.5], [0.0, 1.0, 3.0]]), second=False)
op("norm.-1.2:zero", lambda x: torch.linalg.vector_norm(x, 2, -1), given([[0.0, 0.0, 0.0], [0.0, 1.0, 3.0]]), second=False)
for true in (0.1, 0.5, 0.9):
    op(f"any.0:{true}", lambda x: torch.any(x, 0), mask(3, 5, true=true))
    op(f"all.0:{true}", lambda x: torch.all(x, 0), mask(3, 5, true=true))

# Index maps
op("flip.1", lambda x: x.flip(1), leaf(3, 4, 2))
op("flip.0,2", lambda x: x.flip(0, 2), leaf(3, 4, 2))
op("roll.2", lambda x: x.roll(2, 1), leaf(3, 4, 2))
op("roll.-5", lambda x: x.roll(-5, 1), leaf(3, 4, 2))
op("tile", lambda x: x.tile(2, 1, 3), leaf(3, 4))
op("repeat_interleave", lambda x: x.repeat_interleave(3, 0), leaf(3, 4))
op("pad.constant", lambda x: F.pad(x, (1, 2, 0, 1), value=-1.5), leaf(3, 4))
op("pad.negative", lambda x: F.pad(x, (-1, 2, 1, -2)), leaf(3, 4))
op("pad.reflect", lambda x: F.pad(x, (2, 3, 1, 0), mode="reflect"), leaf(1, 3, 4))
op("pad.replicate", lambda x: F.pad(x, (2, 5, 1, 0), mode="replicate"), leaf(1, 3, 4))
for k in (-1, 0, 2):
    op(f"tril.{k}", lambda x: x.tril(k), leaf(2, 3, 4))
    op(f"triu.{k}", lambda x: x.triu(k), leaf(2, 3, 4))
op("nonzero", torch.nonzero, mask(3, 5))
op("nonzero:numbers", torch.nonzero, few_values(3, 5))
op("masked_select", lambda x, m: x.masked_select(m), leaf(3, 4), mask(4))
op("linspace", lambda: torch.linspace(-1.5, 3, 7, dtype=torch.float64))
op("arange.2,11,3", lambda: torch.arange(2, 11, 3))
op("arange.fractions", lambda: torch.arange(1, -0.6, -0.25, dtype=torch.float64))
EQUATIONS = {
    "ij,jk->ik": [(3, 4), (4, 5)],
    "bij,bjk->bki": [(2, 3, 4), (2, 4, 5)],
    "bij,jkbl->bk": [(2, 3, 4), (4, 5, 2, 3)],
    "i,j->ij": [(3,), (4,)],
    "ij,ij->j": [(3, 4), (3, 4)],
    "iij->j": [(3, 3, 4)],
    "ij,jk,kl": [(2, 3), (3, 4), (4, 5)],
    "ba": [(3, 4)],
    "bi,oij,bj->bo": [(2, 3), (4, 3, 5), (2, 5)],
}
for equation, shapes in EQUATIONS.items():
    op(f"einsum.{equation}", lambda *xs: torch.einsum(equation, *xs), *[leaf(*shape) for shape in shapes])

# More functions of one element
for name, f, kind in [
    ("log1p", torch.log1p, positive),
    ("expm1", torch.expm1, leaf),
    ("leaky_relu", lambda x: F.leaky_relu(x, 0.2), off_zero),
    ("elu", lambda x: F.elu(x, 0.7), off_zero),
]:
    op(f"{name}:near", f, kind(3, 5))
op("log1p:negative", torch.log1p, leaf(2, 7, low=-0.9, high=0.5))
op("expm1:far", torch.expm1, leaf(2, 7, low=-15, high=5))
op("elu:far", lambda x: F.elu(x, 0.7), leaf(2, 7, low=-15, high=15))
op("leaky_relu:zero", lambda x: F.leaky_relu(x, 0.2), given([-1.0, 0.0, 2.0]), second=False)
HALVES = lambda g: torch.tensor([-2.5, -1.5, -0.5, -0.25, 0.0, 0.5, 0.75, 1.5, 2.5, 1e9]).double()
for name, f in [("round", torch.round), ("floor", torch.floor), ("ceil", torch.ceil)]:
    op(name, f, HALVES)

# Products; "T" where a factor is stored transposed.
for ta in (False, True):
    for tb in (False, True):
        product = lambda a, b: (a.mT if ta else a) @ (b.mT if tb else b)
        flags = ("T" if ta else "N") + ("T" if tb else "N")
        a, b = (5, 3) if ta else (3, 5), (4, 5) if tb else (5, 4)
        op(f"matmul.{flags}:matrices", product, leaf(*a), leaf(*b))
        op(f"matmul.{flags}:batches", product, leaf(3, *a), leaf(3, *b))
        op(f"matmul.{flags}:one b", product, leaf(3, *a), leaf(*b))
        op(f"matmul.{flags}:broadcast", product, leaf(2, 1, *a), leaf(3, *b))
op("linear:matrix", F.linear, leaf(3, 5), leaf(4, 5), leaf(4))
op("linear:no bias", F.linear, leaf(3, 5), leaf(4, 5))
op("linear:sequences", F.linear, leaf(3, 2, 5), leaf(4, 5), leaf(4))
op("linear:vector", F.linear, leaf(5), leaf(4, 5), leaf(4))
linear_relu = lambda x, w, b=None: F.relu(F.linear(x, w, b))
op("linear.relu:matrix", linear_relu, leaf(3, 5), leaf(4, 5), leaf(4))
op("linear.relu:no bias", linear_relu, leaf(3, 5), leaf(4, 5))
op("linear.relu:sequences", linear_relu, leaf(3, 2, 5), leaf(4, 5), leaf(4))

# Softmax
for axis in (-1, 0, 1):
    op(f"softmax.{axis}", lambda x: F.softmax(x, axis), leaf(3, 4, 5))
    op(f"log_softmax.{axis}", lambda x: F.log_softmax(x, axis), leaf(3, 4, 5))
    op(f"logsumexp.{axis}", lambda x: torch.logsumexp(x, axis, keepdim=axis == 1), leaf(3, 4, 5))
for name, f in [("softmax", F.softmax), ("log_softmax", F.log_softmax), ("logsumexp", torch.logsumexp)]:
    op(f"{name}.-1:large", lambda x: f(x, -1), leaf(3, 5, low=-40, high=40))
op("softmax.-1:masked", lambda x: F.softmax(x, -1), given([[0.5, -math.inf, 1.5, -0.25], [-math.inf, 2.0, 0.75, -1.0]]))

# Convolution: x, weight, bias and stride, padding, dilation, groups
for name, x, weight, options in [
    ("plain", (3, 2, 4, 5), (4, 2, 3, 2), {}),
    ("padded", (3, 2, 4, 5), (3, 2, 3, 2), dict(padding=(1, 2))),
    ("strided", (3, 2, 6, 5), (3, 2, 2, 3), dict(stride=(2, 3), padding=(1, 0))),
    ("dilated", (3, 2, 6, 5), (4, 1, 2, 3), dict(stride=(1, 2), padding=(0, 2), dilation=(3, 2), groups=2)),
    ("groups", (3, 4, 3, 4), (6, 2, 2, 3), dict(padding=(1, 1), groups=2)),
    ("depthwise", (3, 3, 4, 3), (3, 1, 3, 2), dict(stride=(2, 1), padding=(1, 1), groups=3)),
    ("pointwise", (3, 4, 3, 2), (5, 4, 1, 1), {}),
    ("pointwise strided", (3, 4, 3, 4), (5, 4, 1, 1), dict(stride=(2, 3))),
    ("pointwise groups", (3, 4, 3, 2), (6, 2, 1, 1), dict(groups=2)),
]:
    op(f"conv2d.{name}", lambda *x: F.conv2d(*x, **options), leaf(*x), leaf(*weight), leaf(weight[0]))
op("conv2d.plain:no bias", F.conv2d, leaf(3, 2, 4, 3), leaf(3, 2, 2, 2))

# Pooling
for name, f, options in [
    ("plain", F.max_pool2d, dict(kernel_size=(2, 3))),
    ("padded", F.max_pool2d, dict(kernel_size=(3, 2), stride=(2, 1), padding=(1, 1))),
    ("ceil", F.max_pool2d, dict(kernel_size=(3, 2), stride=(2, 2), ceil_mode=True)),
    ("dilated", F.max_pool2d, dict(kernel_size=(2, 3), stride=(2, 2), padding=(1, 1), dilation=(2, 1), ceil_mode=True)),
    ("plain", F.avg_pool2d, dict(kernel_size=(2, 3))),
    ("padded", F.avg_pool2d, dict(kernel_size=(3, 2), stride=(2, 1), padding=(1, 1))),
    ("ceil", F.avg_pool2d, dict(kernel_size=(3, 2), stride=(2, 2), padding=(1, 1), ceil_mode=True)),
    (
        "uncounted",
        F.avg_pool2d,
        dict(kernel_size=(3, 2), stride=(2, 2), padding=(1, 1), ceil_mode=True, count_include_pad=False),
    ),
]:
    op(f"{f.__name__}.{name}", lambda x: f(x, **options), leaf(3, 2, 5, 6))
op(
    "max_pool2d.plain:equal",
    lambda x: F.max_pool2d(x, (2, 3)),
    given([[[[3.0, 3, 1, -1, -1, -1], [3, 2, 0, -1, -1, -1]]]]),
    second=False,
)
for size in [(1, 1), (2, 3), (3, 4), (5, 7)]:
    op(f"adaptive_avg_pool2d.{size[0]}x{size[1]}", lambda x: F.adaptive_avg_pool2d(x, size), leaf(3, 2, 4, 5))


# Norms. Where there is a mask, y is the norm of the valid positions alone, and 0 elsewhere.
def weights(*shape):
    return leaf(*shape, low=0.5, high=2)


def batch_norm(x, w=None, b=None, eps=1e-5, channels_last=False, valid=None):
    """y, and each channel's mean and biased variance"""
    rows = x if channels_last else x.movedim(1, -1)
    valid = torch.ones(rows.shape[:-1], dtype=torch.bool) if valid is None else valid
    y = torch.zeros_like(rows)
    y[valid] = F.batch_norm(rows[valid], None, None, w, b, training=True, eps=eps)
    kept = rows[valid].detach()
    return y if channels_last else y.movedim(-1, 1), kept.mean(0), kept.var(0, correction=0)


def batch_norm_torch(x, w=None, b=None, eps=1e-5):
    return F.batch_norm(x, None, None, w, b, training=True, eps=eps), *batch_norm(x)[1:]


def batch_norm_relu(*x, **options):
    y, mean, var = batch_norm(*x, **options)
    return F.relu(y), mean, var


for name, shape in [("features", (5, 3)), ("sequences", (4, 3, 5)), ("images", (3, 2, 4, 3))]:
    c = shape[1]
    op(f"batch_norm:{name}", batch_norm_torch, leaf(*shape), weights(c), leaf(c))
    op(f"batch_norm:{name} plain", batch_norm_torch, leaf(*shape))
    op(f"batch_norm.relu:{name}", batch_norm_relu, leaf(*shape), weights(c), leaf(c))
    op(
        f"batch_norm_inference:{name}",
        F.batch_norm,
        *(leaf(*shape), constant(c), constant(c, low=0.3), weights(c), leaf(c)),
    )
op("batch_norm_inference:plain", F.batch_norm, leaf(4, 3), constant(3), constant(3, low=0.3))
op(
    "batch_norm_inference.relu",
    lambda *x: F.relu(F.batch_norm(*x)),
    *(leaf(4, 3, 2), constant(3), constant(3, low=0.3), weights(3), leaf(3)),
)
op("batch_norm.eps", lambda *x: batch_norm_torch(*x, eps=0.3), leaf(5, 3), weights(3), leaf(3))
op("batch_norm.relu:plain", batch_norm_relu, leaf(4, 3))
op("batch_norm.last", lambda *x: batch_norm(*x, channels_last=True), leaf(3, 4, 5), weights(5), leaf(5))
op(
    "batch_norm.masked",
    lambda x, valid, w, b: batch_norm(x, w, b, valid=valid),
    *(leaf(3, 4, 5), mask(3, 5), weights(4), leaf(4)),
)
op(
    "batch_norm.last masked",
    lambda x, valid, w, b: batch_norm(x, w, b, channels_last=True, valid=valid),
    *(leaf(3, 4, 5), mask(3, 4), weights(5), leaf(5)),
)
op(
    "batch_norm.relu last masked",
    lambda x, valid, w, b: batch_norm_relu(x, w, b, channels_last=True, valid=valid),
    *(leaf(3, 4, 5), mask(3, 4), weights(5), leaf(5)),
)
op(
    "batch_norm_inference.last masked",
    lambda x, mean, var, valid, w, b: valid[..., None] * F.batch_norm(x.movedim(-1, 1), mean, var, w, b).movedim(1, -1),
    *(leaf(3, 4, 5), constant(5), constant(5, low=0.3), mask(3, 4), weights(5), leaf(5)),
)
op("layer_norm.1:affine", lambda x, w, b: F.layer_norm(x, (5,), w, b), leaf(3, 4, 5), weights(5), leaf(5))
op("layer_norm.1:weight", lambda x, w: F.layer_norm(x, (5,), w), leaf(3, 5), weights(5))
op("layer_norm.1:plain", lambda x: F.layer_norm(x, (5,)), leaf(3, 5))
op("layer_norm.2", lambda x, w, b: F.layer_norm(x, (4, 5), w, b), leaf(3, 4, 5), weights(4, 5), leaf(4, 5))
op("layer_norm.eps", lambda x, w, b: F.layer_norm(x, (5,), w, b, eps=0.3), leaf(3, 5), weights(5), leaf(5))
op("layer_norm.relu:affine", lambda x, w, b: F.relu(F.layer_norm(x, (5,), w, b)), leaf(3, 4, 5), weights(5), leaf(5))
op("layer_norm.relu:weight", lambda x, w: F.relu(F.layer_norm(x, (5,), w)), leaf(3, 5), weights(5))
op("layer_norm.relu:plain", lambda x: F.relu(F.layer_norm(x, (5,))), leaf(3, 5))
op(
    "layer_norm.masked",
    lambda x, valid, w, b: F.layer_norm(x, (5,), w, b) * valid[..., None],
    *(leaf(3, 4, 5), mask(3, 4), weights(5), leaf(5)),
)

op("rms_norm.1:weight", lambda x, w: F.rms_norm(x, (5,), w), leaf(3, 4, 5), weights(5))
op("rms_norm.1:plain", lambda x: F.rms_norm(x, (5,)), leaf(3, 5))
op("rms_norm.2", lambda x, w: F.rms_norm(x, (4, 5), w, eps=0.3), leaf(3, 4, 5), weights(4, 5))
op(
    "rms_norm.masked",
    lambda x, valid, w: F.rms_norm(x, (5,), w) * valid[..., None],
    *(leaf(3, 4, 5), mask(3, 4), weights(5)),
)
for groups in (1, 2, 4):
    op(f"group_norm.{groups}", lambda *x: F.group_norm(x[0], groups, *x[1:]), leaf(3, 4, 2, 3), weights(4), leaf(4))
op("group_norm.2:plain", lambda x: F.group_norm(x, 2), leaf(3, 4))
op("group_norm.relu", lambda x, w, b: F.relu(F.group_norm(x, 2, w, b, eps=0.3)), leaf(3, 4, 5), weights(4), leaf(4))
op(
    "group_norm.masked",
    lambda x, valid, w, b: F.group_norm(x, 2, w, b) * valid[:, None, None],
    *(leaf(5, 4, 2), mask(5), weights(4), leaf(4)),
)


# Attention of (N, heads, T, D); PyTorch has no key padding of its own, which is a mask here.
def attention(q, k, v, added=None, allowed=None, causal=False, scale=None):
    if allowed is not None:
        barrier = torch.zeros(allowed.shape, dtype=q.dtype).masked_fill(~allowed, -math.inf)
        added = barrier if added is None else added + barrier
    with nn.attention.sdpa_kernel(nn.attention.SDPBackend.MATH):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=added, is_causal=causal, scale=scale)


def before(lengths, n):
    return torch.arange(n) < torch.tensor(lengths)[:, None]


QKV = (leaf(3, 2, 4, 3), leaf(3, 2, 5, 3), leaf(3, 2, 5, 2))
PADDING = before([5, 3, 1], 5)
CAUSAL = torch.ones(4, 5).tril().bool()
op("attention.plain:heads", attention, *QKV)
op("attention.plain:one", attention, leaf(4, 3), leaf(5, 3), leaf(5, 2))
op("attention.scale", lambda q, k, v: attention(q, k, v, scale=-0.7), *QKV)
op("attention.causal", lambda q, k, v: attention(q, k, v, causal=True), *QKV)
op("attention.mask:added", attention, *QKV, leaf(2, 1, 5))
op("attention.mask:added constant", attention, *QKV, constant(3, 1, 4, 5))
for name, allowed in [("boolean", CAUSAL.flip(1)), ("a query without keys", CAUSAL.tril(-1))]:
    op(f"attention.mask:{name}", lambda q, k, v, m: attention(q, k, v, allowed=m), *QKV, lambda g: allowed)
op("attention.padding", lambda q, k, v, m: attention(q, k, v, allowed=m[:, None, None]), *QKV, lambda g: PADDING)
op(
    "attention.all",
    lambda q, k, v, m, added: attention(q, k, v, added, m[:, None, None] & CAUSAL),
    *(*QKV, lambda g: PADDING, leaf(4, 5)),
)


def self_attention(x, **masks):
    """Of two heads; x: (N, T, 3 E) of queries, keys and values."""
    q, k, v = (part.unflatten(2, (2, -1)).transpose(1, 2) for part in x.chunk(3, dim=2))
    return attention(q, k, v, **masks).transpose(1, 2).flatten(2)


# What stands in padding are queries, too.
STEPS_THERE = before([4, 2, 1], 4)
cleared = lambda x, m: x * m[..., None]
op("self_attention.plain", self_attention, leaf(3, 4, 12))
op("self_attention.causal", lambda x: self_attention(x, causal=True), leaf(3, 4, 18))
op("self_attention.mask:added", lambda x, m: self_attention(x, added=m), leaf(3, 4, 12), leaf(2, 1, 4))
op(
    "self_attention.padding",
    lambda x, m: self_attention(cleared(x, m), allowed=m[:, None, None]),
    *(leaf(3, 4, 12), lambda g: STEPS_THERE),
)
op(
    "self_attention.all",
    lambda x, m, added: self_attention(cleared(x, m), added=added, allowed=m[:, None, None] & CAUSAL[:, :4]),
    *(leaf(3, 4, 12), lambda g: STEPS_THERE, constant(4, 4)),
)

# Cells over the steps of sequences, and over one step: x, w_ih, w_hh, b_ih, b_hh and states; h, c if there is one, y.
def recurrence(mode):
    def f(x, w_ih, w_hh, b_ih, b_hh, *states):
        steps = x if x.dim() == 3 else x[:, None]
        h0 = tuple(state[None] for state in states) if mode == "lstm" else states[0][None]
        run = {"lstm": torch.lstm, "gru": torch.gru, "rnn": torch.rnn_tanh, "rnn_relu": torch.rnn_relu}[mode]
        y, *last = run(steps, h0, [w_ih, w_hh, b_ih, b_hh], True, 1, 0.0, False, False, True)
        return *(state[0] for state in last), *([y] * (x.dim() == 3))

    return f


for mode, rows in [("rnn", 3), ("rnn_relu", 3), ("lstm", 12), ("gru", 9)]:
    bounded = dict(low=-1, high=1)  # where tanh saturates, f32 loses digits
    parameters = [leaf(*shape, **bounded) for shape in [(rows, 2), (rows, 3), (rows,), (rows,)]]
    states = [leaf(2, 3)] * (2 if mode == "lstm" else 1)
    op(f"{mode}:steps", recurrence(mode), leaf(2, 4, 2), *parameters, *states)
    op(f"{mode}:one step", recurrence(mode), leaf(2, 2), *parameters, *states)

# Losses
LABELS = [2, 0, -100, 1, 2]
for reduction in ("mean", "sum", "none"):
    for smoothing in (0.0, 0.2):
        for weighted in (False, True):
            op(
                f"cross_entropy.{reduction}{' smoothed' if smoothing else ''}:{'weighted' if weighted else 'plain'}",
                lambda x, t, w=None: F.cross_entropy(x, t, w, reduction=reduction, label_smoothing=smoothing),
                *(leaf(5, 3), indices(LABELS), *[constant(3, low=0.5)] * weighted),
            )
    op(f"mse_loss.{reduction}", lambda x, t: F.mse_loss(x, t, reduction=reduction), leaf(3, 5), leaf(3, 5))
    op(f"huber_loss.{reduction}", lambda x, t: F.huber_loss(x, t, reduction, 0.7), leaf(3, 5), leaf(3, 5))
    bce = lambda x, t, w=None, pos_weight=None: F.binary_cross_entropy_with_logits(
        x, t, w, pos_weight=pos_weight, reduction=reduction
    )
    targets = leaf(3, 5, low=0.1, high=0.9)
    op(f"bce.{reduction}:plain", bce, leaf(3, 5), targets)
    op(f"bce.{reduction}:weighted", bce, leaf(3, 5), targets, constant(3, 1, low=0.5), constant(5, low=0.5))
op("bce.none:large", bce, leaf(3, 5, low=-30, high=30), targets)
op("cross_entropy.ignored", lambda x, t: F.cross_entropy(x, t, ignore_index=1), leaf(4, 3), indices([2, 1, 0, 2]))
op(
    "cross_entropy.mean smoothed:images",
    lambda x, t, w: F.cross_entropy(x, t, w, label_smoothing=0.2),
    *(leaf(2, 3, 2, 3), indices([[[2, 0, 1], [1, 0, -100]], [[2, 1, 1], [0, 0, 2]]]), constant(3, low=0.5)),
)
op(
    "cross_entropy.none:images",
    lambda x, t: F.cross_entropy(x, t, reduction="none"),
    *(leaf(2, 3, 2, 3), indices([[[2, 0, 1], [1, 0, -100]], [[2, 1, 1], [0, 0, 2]]])),
)

# Convolutions and poolings along one axis, transposed, of even kernels that keep the size, without a batch
for name, x, weight, options in [
    ("same", (3, 2, 4, 5), (3, 2, 3, 2), dict(padding="same")),
    ("same dilated", (3, 2, 6, 5), (3, 2, 2, 3), dict(padding="same", dilation=(3, 2))),
    ("one image", (2, 4, 5), (3, 2, 3, 2), dict(stride=(2, 1), padding=(1, 0))),
]:
    op(f"conv2d.{name}", lambda *x: F.conv2d(*x, **options), leaf(*x), leaf(*weight), leaf(weight[0]))
for name, x, weight, options in [
    ("plain", (3, 2, 6), (3, 2, 3), dict()),
    ("strided", (3, 2, 7), (3, 2, 3), dict(stride=2, padding=1, dilation=2)),
    ("groups", (3, 4, 5), (6, 2, 2), dict(groups=2)),
    ("same", (3, 2, 5), (3, 2, 4), dict(padding="same", dilation=3)),
    ("one row", (2, 5), (3, 2, 3), dict()),
]:
    op(f"conv1d.{name}", lambda *x: F.conv1d(*x, **options), leaf(*x), leaf(*weight), leaf(weight[0]))
for name, x, weight, options in [
    ("plain", (3, 2, 3, 4), (2, 3, 3, 2), dict()),
    ("strided", (3, 2, 3, 2), (2, 3, 3, 4), dict(stride=(2, 3), padding=(1, 2), output_padding=(1, 2))),
    ("groups", (3, 4, 3, 2), (4, 3, 2, 2), dict(groups=2, dilation=(1, 2))),
    ("beyond the stride", (2, 2, 3, 4), (2, 2, 3, 2), dict(stride=(3, 2), padding=(1, 2), output_padding=(2, 3), dilation=4)),
    ("one image", (2, 3, 4), (2, 3, 3, 2), dict()),
]:
    channels = weight[1] * options.get("groups", 1)
    op(f"conv_transpose2d.{name}", lambda *x: F.conv_transpose2d(*x, **options), leaf(*x), leaf(*weight), leaf(channels))
op("conv_transpose2d.plain:no bias", F.conv_transpose2d, leaf(3, 2, 3, 4), leaf(2, 3, 3, 2))
for name, x, weight, options in [
    ("plain", (3, 2, 4), (2, 3, 3), dict()),
    ("strided", (3, 4, 3), (4, 2, 3), dict(stride=3, padding=1, output_padding=2, groups=2, dilation=2)),
    ("one row", (2, 4), (2, 3, 3), dict()),
]:
    channels = weight[1] * options.get("groups", 1)
    op(f"conv_transpose1d.{name}", lambda *x: F.conv_transpose1d(*x, **options), leaf(*x), leaf(*weight), leaf(channels))
for name, shape in [("batch", (3, 2, 7)), ("row", (2, 7))]:
    op(
        f"max_pool1d:{name}",
        lambda x: F.max_pool1d(x, 3, stride=2, padding=1, dilation=2, ceil_mode=True),
        *[leaf(*shape)],
    )
    op(
        f"avg_pool1d:{name}",
        lambda x: F.avg_pool1d(x, 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
        *[leaf(*shape)],
    )
    op(f"adaptive_avg_pool1d:{name}", lambda x: F.adaptive_avg_pool1d(x, 3), leaf(*shape))
op("max_pool2d.plain:one image", lambda x: F.max_pool2d(x, (2, 3)), leaf(2, 4, 6))
op("avg_pool2d.plain:one image", lambda x: F.avg_pool2d(x, (2, 3)), leaf(2, 4, 6))
op("adaptive_avg_pool2d.2x3:one image", lambda x: F.adaptive_avg_pool2d(x, (2, 3)), leaf(2, 4, 5))
for name, shape in [("batch", (3, 2, 5, 7)), ("image", (2, 5, 7))]:
    op(
        f"max_pool2d_with_indices:{name}",
        lambda x: F.max_pool2d_with_indices(x, (2, 3), stride=(2, 2), padding=(1, 1)),
        *[leaf(*shape)],
    )
    apart = F.max_pool2d(torch.rand(shape, generator=generator_of(name)).double(), 2, return_indices=True)[1]
    op(f"max_unpool2d.plain:{name}", lambda x, i: F.max_unpool2d(x, i, 2, output_size=(5, 7)), leaf(*apart.shape), indices(apart.tolist()))
op(
    "max_unpool2d.strided",
    lambda x, i: F.max_unpool2d(x, i, (1, 2), stride=(2, 3), padding=(0, 1)),
    *(leaf(1, 2, 2, 2), indices([[[[0, 7], [3, 8]], [[5, 1], [2, 4]]]])),
)

op("embedding.padding", lambda w, i: F.embedding(i, w, padding_idx=1), leaf(4, 3), indices([[3, 0, 3], [1, 3, 1]]))

# Images of another size
for name, shape, options in [
    ("larger", (3, 2, 3, 4), dict(size=(5, 9))),
    ("smaller", (3, 2, 7, 5), dict(size=(3, 2))),
    ("twice", (3, 2, 3, 2), dict(scale_factor=2.0)),
    ("scale", (3, 2, 5, 4), dict(scale_factor=1.7)),
    ("scale to twice", (3, 2, 3, 4), dict(scale_factor=2.2)),
    ("scale below 1", (3, 2, 7, 6), dict(scale_factor=0.4)),
    ("scale of one axis", (3, 2, 4, 5), dict(scale_factor=1.2)),
    ("scale of none", (3, 2, 4, 3), dict(scale_factor=1.2)),
    ("row", (3, 2, 5), dict(size=8)),
    ("row twice", (3, 2, 5), dict(scale_factor=2.0)),
]:
    linear = "linear" if len(shape) == 3 else "bilinear"
    for mode, align in [("nearest", None), (linear, False), (linear, True)]:
        op(
            f"interpolate.{'nearest' if align is None else 'corners' if align else 'bilinear'} {name}",
            lambda x: F.interpolate(x, mode=mode, align_corners=align, **options),
            leaf(*shape),
        )

# Losses that are compositions
SOFT = [[0.25, 0.5, 0.25], [1.0, 0.0, 0.0], [0.125, 0.0, 0.875], [0.5, 0.25, 0.25], [0.0, 0.0, 1.0]]
for reduction in ("mean", "sum", "none"):
    for smoothing in (0.0, 0.2):
        for weighted in (False, True):
            op(
                f"soft_cross_entropy.{reduction}{' smoothed' if smoothing else ''}:{'weighted' if weighted else 'plain'}",
                lambda x, t, w=None: F.cross_entropy(x, t, w, reduction=reduction, label_smoothing=smoothing),
                *(leaf(5, 3), given(SOFT), *[constant(3, low=0.5)] * weighted),
            )
    for weighted in (False, True):
        op(
            f"nll_loss.{reduction}:{'weighted' if weighted else 'plain'}",
            lambda x, t, w=None: F.nll_loss(x, t, w, reduction=reduction),
            *(leaf(5, 3), indices(LABELS), *[constant(3, low=0.5)] * weighted),
        )
    apart = lambda g: (draw(g, (3, 5), -2, 2) + torch.tensor([9.0, -9.0, 0.0, 0.0, 0.0])).requires_grad_()
    op(f"l1_loss.{reduction}", lambda x, t: F.l1_loss(x, t, reduction=reduction), leaf(3, 5), leaf(3, 5))
    op(
        f"smooth_l1_loss.{reduction}",
        lambda x, t: F.smooth_l1_loss(x, t, reduction=reduction, beta=0.7),
        *(apart, leaf(3, 5)),
    )
    for name, log_target, target in [("", False, positive(3, 5)), (" log", True, leaf(3, 5))]:
        op(
            f"kl_div.{reduction}{name}",
            lambda x, t: F.kl_div(x, t, reduction=reduction, log_target=log_target),
            *(leaf(3, 5), target),
        )
    # PyTorch's own second derivative adds 1e-12 to a denominator: that is taken from the formula.
    probability = leaf(3, 5, low=0.1, high=0.9)
    result = {"mean": torch.mean, "sum": torch.sum, "none": lambda x: x}[reduction]
    for name, f, second in [
        ("plain", lambda x, t, w: F.binary_cross_entropy(x, t, w, reduction=reduction), False),
        ("formula", lambda x, t, w: result(-w * (t * x.log() + (1 - t) * (1 - x).log())), True),
    ]:
        op(
            f"binary_cross_entropy.{reduction}:{name}",
            f,
            *(probability, probability, constant(3, 1, low=0.5)),
            second=second,
        )
    for name, full, variance_shape in [("", False, (3, 5)), (" full", True, (3, 1))]:
        op(
            f"gaussian_nll_loss.{reduction}{name}",
            lambda x, t, v: F.gaussian_nll_loss(x, t, v, full=full, eps=1.0, reduction=reduction),
            *(leaf(3, 5), leaf(3, 5), positive(*variance_shape)),
        )
    op(
        f"cosine_embedding_loss.{reduction}",
        lambda a, b, t: F.cosine_embedding_loss(a, b, t, margin=-0.5, reduction=reduction),
        # far from 0, where PyTorch's has another eps
        *(leaf(4, 3, low=20, high=90), leaf(4, 3, low=-90, high=50), indices([1, -1, -1, 1])),
    )
op("nll_loss.ignored", lambda x, t: F.nll_loss(x, t, ignore_index=1), leaf(4, 3), indices([2, 1, 0, 2]))
op("nll_loss.none:one row", lambda x, t: F.nll_loss(x, t, reduction="none"), leaf(3), indices(2))
op(
    "nll_loss.mean:images",
    lambda x, t, w: F.nll_loss(x, t, w),
    *(leaf(2, 3, 2, 3), indices([[[2, 0, 1], [1, 0, -100]], [[2, 1, 1], [0, 0, 2]]]), constant(3, low=0.5)),
)
for inner in [(2,), (2, 2)]:
    op(
        f"soft_cross_entropy.mean smoothed:{'images' if len(inner) > 1 else 'steps'}",
        lambda x, t, w: F.cross_entropy(x, t, w, label_smoothing=0.2),
        *(leaf(2, 3, *inner), leaf(2, 3, *inner, low=0.1, high=0.9), constant(3, low=0.5)),
    )
op("soft_cross_entropy.none:one row", lambda x, t: F.cross_entropy(x, t, reduction="none"), leaf(3), given(SOFT[2]))
op("cross_entropy.none:one row", lambda x, t: F.cross_entropy(x, t, reduction="none"), leaf(3), indices(2))
op("smooth_l1_loss.l1", lambda x, t: F.smooth_l1_loss(x, t, beta=0.0), leaf(3, 5), leaf(3, 5))
op("l1_loss.mean:equal", F.l1_loss, given([1.0, 2.0, -3.0]), given([1.0, 0.5, -3.0]), second=False)
op(
    "binary_cross_entropy.none:ends",
    lambda x, t: F.binary_cross_entropy(x, t, reduction="none"),
    lambda g: torch.tensor([0.0, 1.0, 0.0, 1.0, 0.5]).double(),
    lambda g: torch.tensor([1.0, 0.0, 0.0, 1.0, 0.25]).double(),
)
op(
    "gaussian_nll_loss.none:small",
    lambda x, t, v: F.gaussian_nll_loss(x, t, v, eps=1.0, reduction="none"),
    *(leaf(3, 5), leaf(3, 5), lambda g: draw(g, (3,), 0, 0.5).requires_grad_()),
)
op("cosine_similarity.1", F.cosine_similarity, leaf(3, 4), leaf(3, 4))
op("cosine_similarity.last", lambda a, b: F.cosine_similarity(a, b, dim=-1), leaf(3, 1, 4), leaf(5, 4))
op(
    "cosine_similarity.last:zero",
    lambda a, b: F.cosine_similarity(a, b, dim=-1),
    *(given([[0.0, 0.0], [1.0, 2.0]]), given([[3.0, 4.0], [0.0, 0.0]])),
    second=False,
)
op(
    "cosine_embedding_loss.none:one row",
    lambda a, b, t: F.cosine_embedding_loss(a, b, t, reduction="none"),
    *(leaf(3, low=20, high=90), leaf(3, low=20, high=90), indices(1)),
)

# Dropout for a mask that is given: which elements stay is the generator's affair.
op("dropout", lambda x, stays: x * stays / (1 - 0.3), leaf(3, 5), mask(3, 5, true=0.7))

# Choosing a token, and positions.
def keep_top_k(x, k):
    return x.masked_fill(~torch.zeros_like(x).bool().scatter(-1, x.topk(k).indices, True), -math.inf)


def keep_top_p(x, p):
    """As in generation with Hugging Face's transformers."""
    ordered, indices = x.sort(-1)
    gone = ordered.softmax(-1).cumsum(-1) <= 1 - p
    gone[..., -1] = False
    return x.masked_fill(gone.scatter(-1, indices, gone), -math.inf)


def turned(x, first=0):
    """RoFormer's rotation, as products of complex numbers."""
    steps, d = x.shape[-2:]
    theta = 10000 ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
    angles = torch.arange(first, first + steps, dtype=torch.float64)[:, None] * theta
    z = torch.view_as_complex(x.reshape(*x.shape[:-1], d // 2, 2))
    return torch.view_as_real(z * torch.polar(torch.ones_like(angles), angles)).flatten(-2)


def waves(steps, d):
    """PositionalEncoding of PyTorch's tutorial on transformers."""
    positions = torch.arange(steps, dtype=torch.float64)[:, None]
    div = torch.exp(torch.arange(0, d, 2, dtype=torch.float64) * (-math.log(10000) / d))
    y = torch.zeros(steps, d, dtype=torch.float64)
    y[:, 0::2], y[:, 1::2] = torch.sin(positions * div), torch.cos(positions * div)
    return y


op("keep_top_k", lambda x: keep_top_k(x, 3), leaf(2, 3, 7))
op("keep_top_p", lambda x: keep_top_p(x, 0.7), leaf(2, 3, 7))
op("rotary", turned, leaf(2, 5, 6))
op("rotary.from 100", lambda x: turned(x, 100), leaf(2, 3, 4, 8))
op("sinusoidal_positions", lambda x: x + waves(9, 6), leaf(9, 6))

ops.save("ops.safetensors")


# layers.safetensors: a layer's tensors before (state.<name>), x0, .. and y0, .. of one or several calls, dy0, .., dx0,
# .., the gradients of parameters (d.<name>), and its buffers afterwards (after.<name>).

layers = File()


def is_norm(module):
    return isinstance(module, (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm))


def draw_state(module, g):
    for path, tensor in [*module.named_parameters(), *module.named_buffers()]:
        owner, _, name = path.rpartition(".")
        positive = name == "running_var" or name == "weight" and is_norm(module.get_submodule(owner))
        if tensor.dtype == torch.int64:
            tensor.fill_(3)
        else:
            tensor.data.copy_(draw(g, tensor.shape, 0.5, 2) if positive else draw(g, tensor.shape, -0.5, 0.5))


def layer(name, module, run, *inputs, renamed=lambda path: path):
    """run(module, *inputs): one or several results. `renamed`: what we call a parameter or buffer."""
    g = generator_of(name)
    module.double()
    draw_state(module, g)
    xs = numbered([x(g) for x in inputs])
    parameters = {"d." + renamed(path): parameter for path, parameter in module.named_parameters()}
    for path, tensor in module.state_dict().items():
        layers.put(f"{name}/state.{renamed(path)}", tensor)
    ys = numbered(run(module, *xs.values()))
    layers.put_all(name, "x", xs)
    layers.put_all(name, "y", ys)
    dys = {i: draw(g, y.shape, -2, 2) for i, y in ys.items()}
    layers.put_all(name, "dy", dys)
    leaves = with_gradient(xs)
    found = gradients(ys, leaves | parameters, dys)
    layers.put_all(name, "dx", {i: found[i] for i in leaves})
    for path in parameters:
        layers.put(f"{name}/{path}", found[path])
    for path, tensor in module.named_buffers():
        layers.put(f"{name}/after.{renamed(path)}", tensor)


def call(module, *xs):
    return module(*xs)


layer("Linear", nn.Linear(5, 4), call, leaf(3, 2, 5))
layer("Linear.no bias", nn.Linear(5, 4, bias=False), call, leaf(3, 5))
layer("Conv2d", nn.Conv2d(2, 3, 3, stride=2, padding=1), call, leaf(3, 2, 5, 4))
layer("Conv2d.groups", nn.Conv2d(4, 6, 2, dilation=2, groups=2, bias=False), call, leaf(3, 4, 3, 4))
layer("Embedding", nn.Embedding(4, 3), call, indices([[3, 0, 3], [1, 3, 1]]))
for name, module in [
    ("Relu", nn.ReLU()),
    ("Tanh", nn.Tanh()),
    ("Sigmoid", nn.Sigmoid()),
    ("Silu", nn.SiLU()),
    ("Softplus", nn.Softplus()),
    ("Gelu", nn.GELU()),
    ("Identity", nn.Identity()),
    ("NoNorm", nn.Identity()),
    ("NoNorm.relu", nn.ReLU()),
    ("Dropout.all", nn.Dropout(1.0)),
    ("Dropout.evaluation", nn.Dropout(0.6).eval()),
]:
    layer(name, module, call, off_zero(3, 5))
layer("Conv2d.same", nn.Conv2d(2, 3, (3, 2), padding="same"), call, leaf(3, 2, 5, 4))
layer("Conv1d", nn.Conv1d(2, 3, 3, stride=2, padding=1), call, leaf(3, 2, 5))
layer("Conv1d.same", nn.Conv1d(2, 4, 4, padding="same", dilation=2, groups=2, bias=False), call, leaf(3, 2, 5))
layer(
    "ConvTranspose2d",
    nn.ConvTranspose2d(3, 2, (3, 2), stride=(2, 1), padding=1, output_padding=(1, 0)),
    *(call, leaf(3, 3, 4, 3)),
)
layer(
    "ConvTranspose2d.groups",
    nn.ConvTranspose2d(4, 6, 2, dilation=2, groups=2, bias=False),
    *(call, leaf(3, 4, 3, 2)),
)
layer("ConvTranspose1d", nn.ConvTranspose1d(3, 2, 3, stride=2, padding=1, output_padding=1), call, leaf(3, 3, 4))
layer("MaxPool1d", nn.MaxPool1d(3, stride=2, padding=1), call, leaf(3, 2, 5))
layer("AvgPool1d", nn.AvgPool1d(2), call, leaf(3, 2, 5))
layer("AdaptiveAvgPool1d", nn.AdaptiveAvgPool1d(3), call, leaf(3, 2, 5))
layer("Embedding.padding", nn.Embedding(4, 3, padding_idx=-1), call, indices([[3, 0, 3], [1, 3, 1]]))
layer("Softmax", nn.Softmax(1), call, leaf(3, 5, 2))
layer("LogSoftmax", nn.LogSoftmax(-1), call, leaf(3, 5, 2))
layer("Upsample", nn.Upsample(scale_factor=2.0), call, leaf(3, 2, 3, 4))
layer("Upsample.bilinear", nn.Upsample((5, 3), mode="bilinear"), call, leaf(3, 2, 3, 4))
layer("MaxPool2d.2x3", nn.MaxPool2d((2, 3), stride=(1, 2)), call, leaf(3, 2, 5, 4))
layer("AvgPool2d.2x3", nn.AvgPool2d((2, 3)), call, leaf(3, 2, 5, 4))
layer("AdaptiveAvgPool2d.2x3", nn.AdaptiveAvgPool2d((2, 3)), call, leaf(3, 2, 5, 4))
layer("MaxPool2d", nn.MaxPool2d(3, stride=2, padding=1), call, leaf(3, 2, 5, 4))
layer("AvgPool2d", nn.AvgPool2d(2), call, leaf(3, 2, 5, 4))
layer("Flatten", nn.Flatten(), call, leaf(3, 2, 5, 4))
layer("Flatten.some", nn.Flatten(-3, 2), call, leaf(3, 2, 5, 4))
layer("AdaptiveAvgPool2d", nn.AdaptiveAvgPool2d(3), call, leaf(3, 2, 5, 4))


# Batch Normalization: training on batches of several sizes, then one in evaluation.
def train_then_evaluate(module, *xs):
    trained = [module(x) for x in xs[:-1]]
    return [*trained, module.eval()(xs[-1])]


class LastAxisNorm(nn.BatchNorm1d):
    """Over all other axes of (N, T, C); of the valid positions alone, and 0 elsewhere, where `valid` is set."""

    valid = None

    def forward(self, x):
        valid = torch.ones(x.shape[:-1], dtype=torch.bool) if self.valid is None else self.valid
        y = torch.zeros_like(x)
        y[valid] = super().forward(x[valid])
        return y


def masked(module, x, valid):
    module.valid = valid
    return module(x)


FEATURES = (leaf(5, 3), leaf(4, 3), leaf(7, 3), leaf(2, 3))
layer("BatchNorm", nn.BatchNorm1d(3), train_then_evaluate, *FEATURES)
layer("BatchNorm.momentum", nn.BatchNorm1d(3, momentum=0.3, eps=0.2), train_then_evaluate, *FEATURES)
layer("BatchNorm.cumulative", nn.BatchNorm1d(3, momentum=None), train_then_evaluate, *FEATURES)
layer("BatchNorm.not affine", nn.BatchNorm1d(3, affine=False), train_then_evaluate, *FEATURES)
layer("BatchNorm.untracked", nn.BatchNorm1d(3, track_running_stats=False), train_then_evaluate, *FEATURES)
layer("BatchNorm.frozen", nn.BatchNorm1d(3).eval(), train_then_evaluate, *FEATURES)
SEQUENCES = (leaf(4, 3, 5), leaf(1, 3, 2), leaf(2, 3, 4), leaf(3, 3, 1))
IMAGES = (leaf(3, 3, 2, 4), leaf(2, 3, 1, 3), leaf(3, 3, 2, 1))
layer("BatchNorm:sequences", nn.BatchNorm1d(3), train_then_evaluate, *SEQUENCES)
layer("BatchNorm:images", nn.BatchNorm2d(3), train_then_evaluate, *IMAGES)
layer("BatchNorm.last", LastAxisNorm(4), train_then_evaluate, leaf(3, 5, 4), leaf(5, 3, 4), leaf(2, 3, 4))
layer("BatchNorm.last masked", LastAxisNorm(4), masked, leaf(3, 5, 4), mask(3, 5))


class GhostNorm(nn.BatchNorm1d):
    """Statistics of `size` neighbours, the rest with the last of them; the running ones take the groups' mean."""

    def __init__(self, channels, size, channels_last=False):
        super().__init__(channels)
        self.size, self.channels_last, self.valid = size, channels_last, None

    def normalize(self, rows):
        if not self.training:
            return F.batch_norm(rows, self.running_mean, self.running_var, self.weight, self.bias)
        self.seen.append((rows.detach().mean(0), rows.detach().var(0)))
        return F.batch_norm(rows, None, None, self.weight, self.bias, True)

    def forward(self, x):
        x = x if self.channels_last else x.movedim(1, -1)
        valid = torch.ones(x.shape[:-1], dtype=torch.bool) if self.valid is None else self.valid
        y, self.seen = torch.zeros_like(x), []
        groups = torch.arange(len(x)).div(self.size, rounding_mode="floor").clamp(max=max(1, len(x) // self.size) - 1)
        for group in range(groups.max() + 1):
            there = valid & (groups == group).reshape(-1, *[1] * (valid.dim() - 1))
            y[there] = self.normalize(x[there])
        if self.training:
            self.num_batches_tracked += 1
            for running, seen in zip((self.running_mean, self.running_var), zip(*self.seen)):
                running.lerp_(torch.stack(seen).mean(0), self.momentum)
        return y if self.channels_last else y.movedim(-1, 1)


layer("BatchNorm.ghost", GhostNorm(3, 2), train_then_evaluate, leaf(4, 3), leaf(7, 3), leaf(2, 3), leaf(5, 3))
layer("BatchNorm.ghost:sequences", GhostNorm(3, 2), train_then_evaluate, leaf(5, 3, 4), leaf(1, 3, 4), leaf(3, 3, 1))
layer("BatchNorm.ghost:images", GhostNorm(3, 2), train_then_evaluate, leaf(6, 3, 2, 3), leaf(5, 3, 1, 2))
layer("BatchNorm.ghost last masked", GhostNorm(4, 2, True), masked, leaf(5, 4, 4), mask(5, 4))

layer("LayerNorm", nn.LayerNorm(5), call, leaf(3, 4, 5))
layer("LayerNorm.two axes", nn.LayerNorm((4, 5), eps=0.3), call, leaf(3, 4, 5))
layer("LayerNorm.no bias", nn.LayerNorm(5, bias=False), call, leaf(3, 5))
layer("LayerNorm.not affine", nn.LayerNorm(5, elementwise_affine=False), call, leaf(3, 5))
layer("GroupNorm", nn.GroupNorm(2, 6), call, leaf(3, 6, 2, 3))
layer("GroupNorm.not affine", nn.GroupNorm(1, 4, eps=0.3, affine=False), call, leaf(3, 4, 5))
layer("GroupNorm.masked", nn.GroupNorm(2, 6), lambda m, x, valid: m(x) * valid[:, None], leaf(5, 6), mask(5))
layer("InstanceNorm", nn.InstanceNorm2d(3), call, leaf(2, 3, 4, 2))
layer("InstanceNorm.affine", nn.InstanceNorm1d(3, affine=True), call, leaf(2, 3, 5))
layer("RmsNorm", nn.RMSNorm(5), call, leaf(3, 4, 5))
layer("RmsNorm.two axes", nn.RMSNorm((4, 5), eps=0.3, elementwise_affine=False), call, leaf(3, 4, 5))
layer("RmsNorm.masked", nn.RMSNorm(5), lambda m, x, valid: m(x) * valid[..., None], leaf(3, 4, 5), mask(3, 4))
layer("LayerNorm.masked", nn.LayerNorm(5), lambda m, x, valid: m(x) * valid[..., None], leaf(3, 4, 5), mask(3, 4))

# Recurrent networks. Sequences that are shorter than the longest are packed.
LENGTHS = [5, 2, 1, 4]


class Cell(nn.RNNCell):
    """In its two parts; with a norm of the summed inputs, if it has one."""

    def __init__(self, inputs, hidden, layer_norm=False):
        super().__init__(inputs, hidden)
        self.norm = nn.LayerNorm(hidden) if layer_norm else nn.Identity()

    def project(self, x):
        return F.linear(x, self.weight_ih, self.bias_ih)

    def advance(self, projected, h):
        return torch.tanh(self.norm(projected + F.linear(h, self.weight_hh, self.bias_hh)))

    def forward(self, x, h):
        return self.advance(self.project(x), h)


class Rnn(nn.Module):
    """With a norm of the projected inputs: over all valid steps, or one for each of the first steps."""

    def __init__(self, cell, norm):
        super().__init__()
        self.cell, self.norm = cell, norm

    def normalize(self, x, valid):
        if not isinstance(self.norm, nn.ModuleList):
            return masked(self.norm, x, valid)
        norms = [self.norm[min(t, len(self.norm) - 1)] for t in range(x.shape[1])]
        return torch.stack([masked(norm, x[:, t], valid[:, t]) for t, norm in enumerate(norms)], 1)

    def forward(self, x, lengths):
        valid = before(lengths.tolist(), x.shape[1])
        projected = self.normalize(self.cell.project(x), valid)
        h, ys = torch.zeros(len(x), self.cell.hidden_size).double(), []
        for t in range(x.shape[1]):
            there = valid[:, t, None]
            y = self.cell.advance(projected[:, t], h)
            h = torch.where(there, y, h)
            ys.append(y * there)
        return torch.stack(ys, 1), h


def run_rnn(module, x, lengths=None, *states):
    """y and the last state or states."""
    one = module.num_layers == 1 and not module.bidirectional
    h0 = tuple(state[None] if one else state for state in states)
    h0 = None if not h0 else h0 if isinstance(module, nn.LSTM) else h0[0]
    if lengths is None:
        y, last = module(x, h0)
    else:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        y, last = module(packed, h0)
        y, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=True)
    return y, *(state[0] if one else state for state in (last if isinstance(last, tuple) else [last]))


def in_rnn(path):
    """What we call the parts of a cell, and a norm beside it, in a recurrent net."""
    before, cell, rest = path.rpartition("cell.")
    if not cell:
        return path.replace("norm", "norm_projected_l0", 1)
    name, dot, below = rest.partition(".")
    return f"{before}{name}_l0{dot}{below}"


layer("RnnCell", nn.RNNCell(5, 4), call, leaf(3, 5), leaf(3, 4))
layer("RnnCell.relu", nn.RNNCell(5, 4, nonlinearity="relu"), call, leaf(3, 5), leaf(3, 4))
layer("RnnCell.no bias", nn.RNNCell(5, 4, bias=False), call, leaf(3, 5), leaf(3, 4))
layer("RnnCell.layer norm", Cell(5, 4, layer_norm=True), call, leaf(3, 5), leaf(3, 4))
for nonlinearity in ("tanh", "relu"):
    rnn = lambda: nn.RNN(3, 4, batch_first=True, nonlinearity=nonlinearity)
    layer(f"Rnn.{nonlinearity}", rnn(), run_rnn, leaf(4, 5, 3))
    layer(f"Rnn.{nonlinearity}:lengths", rnn(), run_rnn, leaf(4, 5, 3), indices(LENGTHS))
    layer(f"Rnn.{nonlinearity}:state", rnn(), run_rnn, leaf(4, 5, 3), indices(LENGTHS), leaf(4, 4))
layer("LstmCell", nn.LSTMCell(5, 4), lambda m, x, h, c: m(x, (h, c)), leaf(3, 5), leaf(3, 4), leaf(3, 4))
layer("LstmCell.no bias", nn.LSTMCell(5, 4, bias=False), call, leaf(3, 5))
layer("GruCell", nn.GRUCell(5, 4), call, leaf(3, 5), leaf(3, 4))
layer("GruCell.no bias", nn.GRUCell(5, 4, bias=False), call, leaf(3, 5))
for name, kind in [("Lstm", nn.LSTM), ("Gru", nn.GRU)]:
    rnn = lambda: kind(3, 4, batch_first=True)
    states = [leaf(4, 4)] * (2 if name == "Lstm" else 1)
    layer(name, rnn(), run_rnn, leaf(4, 5, 3))
    layer(f"{name}:lengths", rnn(), run_rnn, leaf(4, 5, 3), indices(LENGTHS))
    layer(f"{name}:state", rnn(), run_rnn, leaf(4, 5, 3), indices(LENGTHS), *states)
layer("Rnn.batch norm", Rnn(Cell(3, 4), LastAxisNorm(4)), call, leaf(4, 5, 3), indices(LENGTHS), renamed=in_rnn)
steps = nn.ModuleList([LastAxisNorm(4), LastAxisNorm(4)])
steps_rnn = Rnn(Cell(3, 4), steps)
layer("Rnn.batch norm per step", steps_rnn, call, leaf(4, 5, 3), indices([5, 2, 3, 5]), renamed=in_rnn)

# Several layers, and both directions. PyTorch's dropout is of 0: a seed gives other draws there.
for name, kind in [("Rnn", nn.RNN), ("Lstm", nn.LSTM), ("Gru", nn.GRU)]:
    for label, options in [
        ("stacked", dict(num_layers=3)),
        ("bidirectional", dict(bidirectional=True)),
        ("stacked bidirectional", dict(num_layers=2, bidirectional=True)),
        ("stacked without bias", dict(num_layers=2, bias=False)),
    ]:
        rnn = lambda: kind(3, 4, batch_first=True, **options)
        passes = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
        states = [leaf(passes, 4, 4)] * (2 if name == "Lstm" else 1)
        layer(f"{name}.{label}", rnn(), run_rnn, leaf(4, 5, 3))
        layer(f"{name}.{label}:lengths", rnn(), run_rnn, leaf(4, 5, 3), indices(LENGTHS))
        layer(f"{name}.{label}:state", rnn(), run_rnn, leaf(4, 5, 3), indices(LENGTHS), *states)


class Stepped(nn.Module):
    """A cell over the steps of sequences: its last h, and the h of each step, 0 where padded."""

    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, x, lengths):
        valid, state, ys = before(lengths.tolist(), x.shape[1]), self.cell.start(len(x)), []
        for t in range(x.shape[1]):
            there = valid[:, t, None]
            after = self.cell.step(x[:, t], state, t, valid[:, t])
            ys.append(after[0] * there)
            state = tuple(torch.where(there, new, old) for new, old in zip(after, state))
        return torch.stack(ys, 1), *state


class SumNormCell(nn.RNNCell):
    """With batch norms of the summed inputs: one, or one for each of the first steps."""

    def __init__(self, inputs, hidden, norm):
        super().__init__(inputs, hidden)
        self.norm = norm

    def start(self, n):
        return (torch.zeros(n, self.hidden_size).double(),)

    def step(self, x, state, t, valid):
        total = F.linear(x, self.weight_ih, self.bias_ih) + F.linear(state[0], self.weight_hh, self.bias_hh)
        norm = self.norm[min(t, len(self.norm) - 1)] if isinstance(self.norm, nn.ModuleList) else self.norm
        return (torch.tanh(masked(norm, total, valid)),)


class NormLstmCell(nn.LSTMCell):
    """Ba et al. 2016, equations 20 to 22"""

    def __init__(self, inputs, hidden):
        super().__init__(inputs, hidden)
        self.norm_ih, self.norm_hh = nn.LayerNorm(4 * hidden), nn.LayerNorm(4 * hidden)
        self.norm_c = nn.LayerNorm(hidden)

    def start(self, n):
        return (torch.zeros(n, self.hidden_size).double(),) * 2

    def forward(self, x, h, c):
        products = self.norm_ih(F.linear(x, self.weight_ih)) + self.norm_hh(F.linear(h, self.weight_hh))
        i, f, g, o = (products + self.bias_ih + self.bias_hh).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(self.norm_c(c)), c

    def step(self, x, state, t, valid):
        return self(x, *state)


class NormGruCell(nn.GRUCell):
    """Ba et al. 2016, equations 23 to 25, with PyTorch's biases and z"""

    def __init__(self, inputs, hidden):
        super().__init__(inputs, hidden)
        self.norm_ih, self.norm_hh = nn.LayerNorm(2 * hidden), nn.LayerNorm(2 * hidden)
        self.norm_in, self.norm_hn = nn.LayerNorm(hidden), nn.LayerNorm(hidden)

    def start(self, n):
        return (torch.zeros(n, self.hidden_size).double(),)

    def forward(self, x, h):
        def part(v, w, gates, candidate, bias):
            product, cut = F.linear(v, w), 2 * self.hidden_size
            return torch.cat([gates(product[:, :cut]), candidate(product[:, cut:])], 1) + bias

        a = part(x, self.weight_ih, self.norm_ih, self.norm_in, self.bias_ih).chunk(3, 1)
        u = part(h, self.weight_hh, self.norm_hh, self.norm_hn, self.bias_hh).chunk(3, 1)
        r, z = torch.sigmoid(a[0] + u[0]), torch.sigmoid(a[1] + u[1])
        return (1 - z) * torch.tanh(a[2] + r * u[2]) + z * h

    def step(self, x, state, t, valid):
        return (self(x, *state),)


layer("LstmCell.layer norm", NormLstmCell(5, 4), call, leaf(3, 5), leaf(3, 4), leaf(3, 4))
layer("GruCell.layer norm", NormGruCell(5, 4), call, leaf(3, 5), leaf(3, 4))
layer("Lstm.layer norm", Stepped(NormLstmCell(3, 4)), call, leaf(4, 5, 3), indices(LENGTHS), renamed=in_rnn)
layer("Gru.layer norm", Stepped(NormGruCell(3, 4)), call, leaf(4, 5, 3), indices(LENGTHS), renamed=in_rnn)
sum_rnn = Stepped(SumNormCell(3, 4, LastAxisNorm(4)))
layer("Rnn.sum", sum_rnn, call, leaf(4, 5, 3), indices([5, 2, 3, 5]), renamed=in_rnn)
steps = nn.ModuleList([LastAxisNorm(4), LastAxisNorm(4)])
sum_rnn = Stepped(SumNormCell(3, 4, steps))
layer("Rnn.sum per step", sum_rnn, call, leaf(4, 5, 3), indices([5, 2, 3, 5]), renamed=in_rnn)


# Attention. PyTorch's masks say what may not be looked at.
def attend(module, *qkv, allowed=None, added=None, valid=None):
    forbidden = added if allowed is None else ~allowed
    if forbidden is not None and forbidden.ndim == 4:
        forbidden = forbidden.flatten(0, 1)
    return module(*qkv, attn_mask=forbidden, key_padding_mask=None if valid is None else ~valid)[0]


def attend_self(module, x, valid=None, **masks):
    y = attend(module, x, x, x, valid=valid, **masks)
    return y if valid is None else y * valid[..., None]


def heads(**options):
    return nn.MultiheadAttention(6, 2, batch_first=True, **options)


def lengths_mask(g):
    return before([5, 3, 1], 5)


def mask_with_neighbours(g):
    return torch.ones(5, 5).triu(-1).bool()


MHA = "MultiHeadAttention"
TOKENS = leaf(3, 5, 6)
layer(f"{MHA}", heads(), attend_self, TOKENS)
layer(f"{MHA}.no bias", heads(bias=False), attend_self, TOKENS)
layer(f"{MHA}.padded", heads(), attend_self, TOKENS, lengths_mask)
layer(f"{MHA}.causal", heads(), lambda m, x: attend_self(m, x, allowed=torch.ones(5, 5).tril().bool()), TOKENS)
layer(f"{MHA}.mask:boolean", heads(), lambda m, x, a: attend_self(m, x, allowed=a), TOKENS, mask_with_neighbours)
layer(f"{MHA}.mask:added", heads(), lambda m, x, a: attend_self(m, x, added=a), TOKENS, leaf(5, 5))
layer(f"{MHA}.mask:heads", heads(), lambda m, x, a: attend_self(m, x, added=a), TOKENS, constant(3, 2, 5, 5))
layer(f"{MHA}.others", heads(), attend, leaf(3, 4, 6), TOKENS, TOKENS)
layer(
    f"{MHA}.others padded",
    heads(),
    lambda m, q, k, v, valid: attend(m, q, k, v, valid=valid),
    *(leaf(3, 4, 6), TOKENS, TOKENS, lengths_mask),
)


# Modules of modules
class Square(nn.Module):
    def forward(self, x):
        return x * x


layer("Lambda", Square(), call, leaf(3, 5))


class Residual(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return x + self.module(x)


layer("Residual", Residual(nn.Sequential(nn.Linear(5, 5), nn.Tanh())), call, leaf(3, 5))
layer(
    "Sequential",
    nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        Residual(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Tanh())),
        nn.MaxPool2d(2),
        nn.LayerNorm((3, 2, 3)),
    ),
    train_then_evaluate,
    *(leaf(3, 2, 4, 6), leaf(2, 2, 4, 6)),
)


# Models
def no_norm(*_):
    return nn.Identity()


class Mlp(nn.Module):
    def __init__(self, inputs, outputs, hidden, norm):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in zip([inputs, *hidden], hidden))
        self.norms = nn.ModuleList(norm(width) for width in hidden)
        self.head = nn.Linear(hidden[-1], outputs)

    def forward(self, x):
        for linear, norm in zip(self.layers, self.norms):
            x = F.relu(norm(linear(x)))
        return self.head(x)


class ResidualBlock(nn.Module):
    def __init__(self, inputs, outputs, stride, size, norm):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
        self.norm1 = norm(outputs, *size)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norm2 = norm(outputs, *size)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride=stride)

    def forward(self, x):
        return F.relu(self.shortcut(x) + self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))))


class Cnn(nn.Module):
    """Of images of 5x4, with stages of 2 and 3 channels."""

    def __init__(self, norm):
        super().__init__()
        self.stem = nn.Conv2d(1, 2, 3, padding=1)
        self.stem_norm = norm(2, 5, 4)
        self.blocks = nn.ModuleList([ResidualBlock(2, 2, 1, (5, 4), norm), ResidualBlock(2, 3, 2, (3, 2), norm)])
        self.head = nn.Linear(3, 4)

    def forward(self, x):
        x = F.relu(self.stem_norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


class RnnClassifier(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.rnn = Rnn(Cell(3, 4, norm.startswith("layer")), LastAxisNorm(4) if norm == "batch" else nn.Identity())
        self.head = nn.Linear(4, 3)

    def forward(self, x, lengths):
        return self.head(self.rnn(x, lengths)[1])


class Encoder(nn.TransformerEncoderLayer):
    """With a norm of our choice in LayerNorm's places."""

    def __init__(self, norm, first):
        super().__init__(6, 2, dim_feedforward=5, dropout=0.0, batch_first=True, norm_first=first)
        self.norm1, self.norm2 = norm(6), norm(6)

    def forward(self, x, valid=None):
        for norm in (self.norm1, self.norm2):
            norm.valid = valid
        y = super().forward(x, src_key_padding_mask=None if valid is None else ~valid)
        return y if valid is None else y * valid[..., None]


class Transformer(nn.Module):
    def __init__(self, norm, first):
        super().__init__()
        self.project = nn.Linear(3, 6)
        self.positions = nn.Parameter(torch.zeros(7, 6))
        self.blocks = nn.ModuleList([Encoder(norm, first), Encoder(norm, first)])
        self.norm = norm(6) if first else nn.Identity()
        self.head = nn.Linear(6, 4)

    def forward(self, x, lengths):
        valid = before(lengths.tolist(), x.shape[1])
        h = self.project(x) + self.positions[: x.shape[1]]
        for block in self.blocks:
            h = block(h, valid)
        h = masked(self.norm, h, valid) * valid[..., None]
        return self.head(h.sum(1) / lengths[:, None])


for name, vector_norm, image_norm, sequence_norm in [
    ("none", no_norm, no_norm, no_norm),
    ("batch", nn.BatchNorm1d, lambda c, *_: nn.BatchNorm2d(c), LastAxisNorm),
    ("layer", nn.LayerNorm, lambda *shape: nn.LayerNorm(shape), nn.LayerNorm),
    ("layer_channel", nn.LayerNorm, lambda c, *_: nn.GroupNorm(1, c), nn.LayerNorm),
]:
    layer(f"Mlp.{name}", Mlp(5, 4, [6, 3], vector_norm), train_then_evaluate, leaf(7, 5), leaf(3, 5))
    block = ResidualBlock(2, 3, 2, (3, 2), image_norm)
    layer(f"ResidualBlock.{name}", block, train_then_evaluate, leaf(3, 2, 5, 4), leaf(2, 2, 5, 4))
    layer(f"Cnn.{name}", Cnn(image_norm), train_then_evaluate, leaf(3, 1, 5, 4), leaf(2, 1, 5, 4))
    for place in ("before", "after") if name != "none" else ("before",):
        first = place == "before"
        if name.startswith("layer"):
            layer(f"EncoderBlock.{name} {place}:all", Encoder(sequence_norm, first), call, TOKENS)
        layer(f"EncoderBlock.{name} {place}:padded", Encoder(sequence_norm, first), call, TOKENS, lengths_mask)
        if name != "none":
            model = Transformer(sequence_norm, first)
            layer(f"Transformer.{name} {place}", model, call, leaf(3, 5, 3), indices([5, 2, 4]))
    in_classifier = lambda path: "rnn." + in_rnn(path[4:]) if path.startswith("rnn.") else path
    model = RnnClassifier(name)
    layer(f"RnnClassifier.{name}", model, call, leaf(4, 5, 3), indices(LENGTHS), renamed=in_classifier)

# PyTorch's own layer, whole: gelu, masks, causal.
for place in ("before", "after"):
    options = dict(dim_feedforward=5, dropout=0.0, batch_first=True, norm_first=place == "before")
    block = lambda: nn.TransformerEncoderLayer(6, 2, activation="gelu", **options)
    past = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    layer(f"EncoderBlock.gelu {place}", block(), call, TOKENS)
    layer(f"EncoderBlock.gelu {place} causal", block(), lambda m, x: m(x, src_mask=past, is_causal=True), TOKENS)
    layer(f"EncoderBlock.gelu {place} mask", block(), lambda m, x, a: m(x, src_mask=~a), TOKENS, mask_with_neighbours)

# The decoder's layer, and language models.
for place in ("before", "after"):
    options = dict(dim_feedforward=5, dropout=0.0, batch_first=True, norm_first=place == "before", activation="gelu")
    block = lambda: nn.TransformerDecoderLayer(6, 2, **options)
    name = f"DecoderBlock.{place}"
    layer(name, block(), lambda m, x, memory: m(x, memory, tgt_mask=past, tgt_is_causal=True), TOKENS, leaf(3, 4, 6))
    layer(
        f"{name}:padded memory",
        block(),
        lambda m, x, memory, valid: m(x, memory, tgt_mask=past, memory_key_padding_mask=~valid),
        *(leaf(3, 5, 6), TOKENS, lengths_mask),
    )


class RotaryLayer(nn.TransformerEncoderLayer):
    def _sa_block(self, x, *_, **__):
        attn = self.self_attn
        qkv = F.linear(x, attn.in_proj_weight, attn.in_proj_bias).unflatten(-1, (3, attn.num_heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(turned(q), turned(k), v, is_causal=True)
        return attn.out_proj(y.transpose(1, 2).flatten(2))


class TransformerLanguageModel(nn.Module):
    def __init__(self, positions, tied):
        super().__init__()
        kind = RotaryLayer if positions == "rotary" else nn.TransformerEncoderLayer
        options = dict(dim_feedforward=5, dropout=0.0, batch_first=True, norm_first=True, activation="gelu")
        self.embedding = nn.Embedding(7, 8)
        self.positions = nn.Parameter(torch.zeros(5, 8)) if positions == "learned" else None
        self.sinusoidal = positions == "sinusoidal"
        self.blocks = nn.ModuleList(kind(8, 2, **options) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 7, bias=False)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, tokens):
        steps = tokens.shape[1]
        h = self.embedding(tokens)
        if self.positions is not None:
            h = h + self.positions[:steps]
        if self.sinusoidal:
            h = h * math.sqrt(8) + waves(steps, 8)
        mask = nn.Transformer.generate_square_subsequent_mask(steps, dtype=torch.float64)
        for block in self.blocks:
            h = block(h, src_mask=mask, is_causal=True)
        return self.head(self.norm(h))


class LstmLanguageModel(nn.Module):
    def __init__(self, layers, tied):
        super().__init__()
        self.embedding, self.head = nn.Embedding(7, 4), nn.Linear(4, 7)
        self.lstm = nn.LSTM(4, 4, num_layers=layers, batch_first=True)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, tokens):
        return self.head(self.lstm(self.embedding(tokens))[0])


IDS = indices([[3, 0, 6, 6], [1, 3, 0, 2]])
for positions in ("learned", "sinusoidal", "rotary"):
    for tied in (True, False):
        name = f"TransformerLanguageModel.{positions}{' tied' if tied else ''}"
        layer(name, TransformerLanguageModel(positions, tied), call, IDS)
layer("LstmLanguageModel", LstmLanguageModel(2, False), call, IDS)
layer("LstmLanguageModel.tied", LstmLanguageModel(1, True), call, IDS)


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = Mlp(6, 2, [5, 3], no_norm), Mlp(2, 6, [3, 5], no_norm)

    def forward(self, x):
        return self.decoder(self.encoder(x.flatten(1))).reshape(x.shape)


layer("Autoencoder", Autoencoder(), call, leaf(4, 2, 3))

layers.save("layers.safetensors")


# optim.safetensors: two parameters (p0, p1; the second in a group of its own where there are two) and after each of
# STEPS steps (axis 0 of after0, after1) with the gradients g0, g1, which all trajectories share.

STEPS = 12
optim = File()
g = generator_of("gradients")
START = [draw(g, (3, 4), -2, 2), draw(g, (5,), -2, 2)]
# None is near 0, where a second moment's root is sensitive; and they become smaller.
SIZES = [2.0 if t < 5 else 0.5 for t in range(STEPS)]
GRADIENTS = [torch.stack([size * off_zero(*p.shape)(g).detach() for size in SIZES]) for p in START]
optim.put_all("problem", "p", numbered(START))
optim.put_all("problem", "g", numbered(GRADIENTS))


def trajectory(name, make, schedule=None, absent=(), clip=None):
    """make: the optimizer of two parameters. absent: steps in which the second has no gradient."""
    ps = [nn.Parameter(p.clone()) for p in START]
    optimizer = make(ps)
    schedule = schedule and schedule(optimizer)
    after, norms = [], []
    for t in range(STEPS):
        for i, p in enumerate(ps):
            p.grad = None if i == 1 and t in absent else GRADIENTS[i][t].clone()
        if clip:  # PyTorch would divide by norm + 1e-6
            norms.append(nn.utils.get_total_norm([p.grad for p in ps]))
            nn.utils.clip_grads_with_norm_(ps, clip, norms[-1] - 1e-6)
        optimizer.step()
        if schedule:
            schedule.step()
        after.append([p.detach().clone() for p in ps])
    optim.put_all(name, "after", {i: torch.stack([step[i] for step in after]) for i in range(2)})
    if clip:
        optim.put(f"{name}/norms", torch.stack(norms))


def groups(ps):
    return [dict(params=ps[:1], lr=0.1, weight_decay=0.05), dict(params=ps[1:], lr=0.03, weight_decay=0.0)]


SGD, Adam, AdamW, RMSprop = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop
trajectory("sgd", lambda ps: SGD(ps, lr=0.1))
trajectory("sgd.decay", lambda ps: SGD(ps, lr=0.1, weight_decay=0.05))
trajectory("sgd.momentum", lambda ps: SGD(ps, lr=0.1, momentum=0.9))
trajectory("sgd.dampening", lambda ps: SGD(ps, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.05))
trajectory("sgd.nesterov", lambda ps: SGD(ps, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.05))
trajectory("adam", lambda ps: Adam(ps))
trajectory("adam.decay", lambda ps: Adam(ps, lr=0.1, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.05))
trajectory("adamw", lambda ps: AdamW(ps))
trajectory("adamw.decay", lambda ps: AdamW(ps, lr=0.1, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.3))
trajectory("rmsprop", lambda ps: RMSprop(ps))
trajectory("rmsprop.decay", lambda ps: RMSprop(ps, lr=0.05, alpha=0.9, eps=1e-3, weight_decay=0.05))
trajectory("rmsprop.momentum", lambda ps: RMSprop(ps, lr=0.05, alpha=0.9, momentum=0.7))
trajectory("rmsprop.centered", lambda ps: RMSprop(ps, lr=0.05, alpha=0.9, centered=True))
trajectory("rmsprop.all", lambda ps: RMSprop(ps, lr=0.05, alpha=0.9, momentum=0.7, centered=True, weight_decay=0.05))
trajectory("sgd.groups", lambda ps: SGD(groups(ps), momentum=0.9))
trajectory("adamw.groups", lambda ps: AdamW(groups(ps)))
trajectory("sgd.maximize", lambda ps: SGD(ps, lr=0.1, momentum=0.9, weight_decay=0.05, maximize=True))
trajectory(
    "adam.amsgrad",
    lambda ps: Adam(ps, lr=0.1, betas=(0.8, 0.6), eps=1e-3, weight_decay=0.05, amsgrad=True),
)
trajectory("adam.maximize", lambda ps: Adam(ps, lr=0.1, weight_decay=0.05, maximize=True))
trajectory(
    "adamw.all",
    lambda ps: AdamW(ps, lr=0.1, betas=(0.9, 0.6), eps=1e-3, weight_decay=0.3, amsgrad=True, maximize=True),
)
trajectory("rmsprop.maximize", lambda ps: RMSprop(ps, lr=0.05, weight_decay=0.05, maximize=True))
Adagrad = torch.optim.Adagrad
trajectory("adagrad", lambda ps: Adagrad(ps))
trajectory(
    "adagrad.all",
    lambda ps: Adagrad(
        ps, lr=0.1, lr_decay=0.1, weight_decay=0.05, initial_accumulator_value=0.3, eps=1e-3, maximize=True
    ),
)
trajectory("adagrad.groups", lambda ps: Adagrad(groups(ps)))
trajectory(
    "adam.defaults", lambda ps: Adam([dict(params=ps[:1]), dict(params=ps[1:], lr=0.03)], lr=0.1, weight_decay=0.05)
)
trajectory("sgd.absent", lambda ps: SGD(ps, lr=0.1, momentum=0.9, dampening=0.3), absent=(0, 4, 5))
trajectory("adam.absent", lambda ps: Adam(ps, lr=0.1), absent=(0, 4, 5))
trajectory("sgd.clipped", lambda ps: SGD(ps, lr=0.1, momentum=0.9), clip=4.0)

lr_scheduler = torch.optim.lr_scheduler
SCHEDULES = {
    "step": lambda o: lr_scheduler.StepLR(o, 5, gamma=0.3),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS),
    "cosine.lowest": lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS, eta_min=0.1 * 0.2),
    "multi_step": lambda o: lr_scheduler.MultiStepLR(o, [2, 7, 7, 9], gamma=0.3),
    "exponential": lambda o: lr_scheduler.ExponentialLR(o, 0.7),
    "polynomial": lambda o: lr_scheduler.PolynomialLR(o, 9, power=1.5),
    "restarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 5, eta_min=0.1 * 0.2),
    "restarts.longer": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2, T_mult=2),
    "one_cycle": lambda o: lr_scheduler.OneCycleLR(o, 0.2, total_steps=STEPS + 2, cycle_momentum=False),
    "one_cycle.all": lambda o: lr_scheduler.OneCycleLR(
        o, 0.2, total_steps=STEPS + 1, pct_start=0.45, div_factor=10, final_div_factor=50, cycle_momentum=False
    ),
    "warmup": lambda o: lr_scheduler.LinearLR(o, start_factor=1 / 5, total_iters=4),
    "warmup.cosine": lambda o: lr_scheduler.SequentialLR(
        o, [SCHEDULES["warmup"](o), lr_scheduler.CosineAnnealingLR(o, STEPS - 5)], milestones=[5]
    ),
}


def factors(schedule):
    """of the learning rate in steps 0 .. STEPS"""
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=0.2)
    schedule = schedule(optimizer)
    found = []
    for _ in range(STEPS + 1):
        found.append(optimizer.param_groups[0]["lr"] / 0.2)
        optimizer.step()
        schedule.step()
    return torch.tensor(found, dtype=torch.float64)


for name, schedule in SCHEDULES.items():
    optim.put(f"schedule.{name}/factors", factors(schedule))

METRICS = draw(generator_of("metrics"), (40,), 0, 1) / torch.arange(1, 41).clamp(max=12) + 1
PLATEAUS = {
    "plateau": dict(),
    "plateau.patience": dict(factor=0.5, patience=2),
    "plateau.max": dict(mode="max", factor=0.5, patience=1, threshold=0.05, threshold_mode="abs"),
    "plateau.max.rel": dict(mode="max", factor=0.5, patience=1, threshold=0.01),
    "plateau.cooldown": dict(factor=0.5, patience=1, threshold=0.01, threshold_mode="abs", cooldown=3, min_lr=0.1 * 0.2),
}
for name, options in PLATEAUS.items():
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=0.2)
    plateau = lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    found = []
    for metric in METRICS:
        plateau.step(metric)
        found.append(optimizer.param_groups[0]["lr"] / 0.2)
    optim.put(f"{name}/metrics", METRICS)
    optim.put(f"{name}/factors", torch.tensor(found, dtype=torch.float64))
trajectory("adam.schedule", lambda ps: Adam(groups(ps)), SCHEDULES["warmup.cosine"])
trajectory("sgd.schedule", lambda ps: SGD(groups(ps), momentum=0.9), SCHEDULES["step"])


# lbfgs.*: parameters after each of several steps, the loss before each, and evaluations so far.

LBFGS_DATA = draw(generator_of("lbfgs"), (8, 3), -2, 2), draw(generator_of("lbfgs.y"), (8,), -2, 2)
optim.put("lbfgs.problem/x", LBFGS_DATA[0])
optim.put("lbfgs.problem/y", LBFGS_DATA[1])


def rosenbrock(ps):
    a, b = ps
    return ((1 - a) ** 2 + 100 * (b - a**2) ** 2).sum()


def least_squares(ps):
    w, b = ps
    return ((LBFGS_DATA[0] @ w + b - LBFGS_DATA[1]) ** 2).mean()


def iterates(name, loss_of, starts, steps, **options):
    ps = [nn.Parameter(torch.tensor(start, dtype=torch.float64)) for start in starts]
    optimizer = torch.optim.LBFGS(ps, **options)

    def closure():
        optimizer.zero_grad()
        loss = loss_of(ps)
        loss.backward()
        return loss

    losses, evals, after = [], [], []
    for _ in range(steps):
        losses.append(optimizer.step(closure).detach())
        evals.append(optimizer.state[ps[0]]["func_evals"])
        after.append(torch.cat([p.detach().reshape(-1) for p in ps]))
    optim.put(f"lbfgs.{name}/losses", torch.stack(losses))
    optim.put(f"lbfgs.{name}/evals", torch.tensor(evals))
    optim.put(f"lbfgs.{name}/after", torch.stack(after))


VALLEY, PLANE, WOLFE = ([-1.2], [1.0]), ([0.0, 0.0, 0.0], [0.5]), dict(line_search_fn="strong_wolfe")
iterates("rosenbrock", rosenbrock, VALLEY, 25, max_iter=1, max_eval=10, **WOLFE)
iterates("rosenbrock.whole", rosenbrock, VALLEY, 3, **WOLFE)
iterates("rosenbrock.short", rosenbrock, VALLEY, 12, max_iter=4, history_size=2, **WOLFE)
iterates("rosenbrock.rate", rosenbrock, VALLEY, 8, lr=0.3, max_iter=3, max_eval=20, **WOLFE)
iterates("rosenbrock.fixed", rosenbrock, ([0.9], [0.85]), 10, lr=0.5, max_iter=2)
iterates("least_squares", least_squares, PLANE, 4, max_iter=2, **WOLFE)
iterates("least_squares.fixed", least_squares, PLANE, 6, lr=0.7, max_iter=3)
iterates("least_squares.few", least_squares, PLANE, 4, max_eval=2, **WOLFE)
iterates("least_squares.tolerance", least_squares, PLANE, 2, tolerance_grad=1e-3, tolerance_change=1e-4, **WOLFE)

optim.save("optim.safetensors")
