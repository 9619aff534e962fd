"""dump.py FOLDER [NAME...]: the sample inputs of PyTorch's own tests of ops and modules, with what PyTorch makes of them:
values, gradients for a random dy, and the gradients' gradients. A pair of files for each name: NAME.json, a list of
samples, and NAME.safetensors, their tensors. PyTorch 2.13, whose torch.testing._internal has the samples.
"""
import inspect
import json
import math
import os
import sys
import warnings

import torch
from safetensors.torch import save_file
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db

warnings.filterwarnings("ignore")
torch.set_num_threads(1)

MOST = 500  # samples of a name and dtype
DTYPES = [torch.float32, torch.float64, torch.int64, torch.bool]
# What is one function of each element, or of two numbers, has reference inputs beyond its samples.
OPS = """
T __radd__ __rdiv__ __rmatmul__ __rmul__ __rpow__ __rsub__ abs add all amax amin any arange argmax argmin argsort bmm bool
broadcast_to cat ceil chunk clamp clamp_max clamp_min clone contiguous cos cumsum div.no_rounding_mode dot double einsum eq
equal erf exp expand expand_as expm1 fill flatten flip float floor gather ge gt index_add index_select isfinite le
linspace log log1p log_softmax log_softmax.with_dtype logical_and logical_not logical_or logsumexp long lt mT masked_fill
masked_select matmul max.binary max.reduction_no_dim max.reduction_with_dim maximum mean min.binary
min.reduction_no_dim min.reduction_with_dim minimum mm mul mv narrow native_batch_norm native_layer_norm ne neg
nn.functional.adaptive_avg_pool1d nn.functional.adaptive_avg_pool2d nn.functional.avg_pool1d nn.functional.avg_pool2d
nn.functional.batch_norm nn.functional.batch_norm.without_cudnn nn.functional.binary_cross_entropy
nn.functional.binary_cross_entropy_with_logits nn.functional.conv1d nn.functional.conv2d nn.functional.conv_transpose1d
nn.functional.conv_transpose2d nn.functional.cosine_embedding_loss nn.functional.cosine_similarity
nn.functional.cross_entropy nn.functional.elu nn.functional.embedding nn.functional.gaussian_nll_loss
nn.functional.gelu nn.functional.group_norm nn.functional.hardtanh nn.functional.huber_loss
nn.functional.interpolate.bilinear nn.functional.interpolate.nearest nn.functional.kl_div nn.functional.l1_loss
nn.functional.layer_norm nn.functional.leaky_relu nn.functional.linear nn.functional.max_pool1d
nn.functional.max_pool2d nn.functional.mse_loss nn.functional.nll_loss nn.functional.one_hot
nn.functional.pad.constant nn.functional.pad.reflect nn.functional.pad.replicate nn.functional.relu
nn.functional.relu6 nn.functional.rms_norm nn.functional.scaled_dot_product_attention nn.functional.silu
nn.functional.smooth_l1_loss nn.functional.softmin nn.functional.softmin.with_dtype nn.functional.softplus
nn.functional.upsample_bilinear nn.functional.upsample_nearest norm norm.inf outer permute pow prod ravel reciprocal
repeat reshape reshape_as roll round rsqrt rsub scatter_add select sigmoid sign sin slice softmax softmax.with_dtype
sort split split.list_args split_with_sizes sqrt square squeeze stack std std.unbiased sub sum sum_to_size t
take_along_dim tanh tile to topk transpose tril triu true_divide unbind unflatten unsqueeze var var.unbiased view
view_as where
""".split()
MODULES = """
AdaptiveAvgPool2d AvgPool1d AvgPool2d BCELoss BCEWithLogitsLoss BatchNorm1d BatchNorm2d BatchNorm3d Conv1d Conv2d
ConvTranspose1d ConvTranspose2d CosineEmbeddingLoss CrossEntropyLoss ELU Embedding GELU GRU GRUCell GaussianNLLLoss
GroupNorm Hardtanh HuberLoss KLDivLoss L1Loss LSTM LSTMCell LayerNorm LeakyReLU Linear LogSoftmax MSELoss MaxPool1d
MaxPool2d MultiheadAttention NLLLoss RMSNorm RNN RNNCell ReLU SiLU Sigmoid SmoothL1Loss Softmax Softmin Softplus Tanh
TransformerEncoderLayer
""".split()


def name_of_dtype(dtype):
    return str(dtype).removeprefix("torch.")


class File:
    """The samples of a name."""

    def __init__(self):
        self.samples, self.tensors = [], {}

    def tensor(self, x):
        key = str(len(self.tensors))
        self.tensors[key] = x.detach().clone().contiguous()
        return key

    def encode(self, value):
        """Tensors by their names, what JSON has no word for by its own."""
        if isinstance(value, torch.Tensor):
            if value.dtype not in DTYPES + [torch.int32] or value.layout != torch.strided or value.is_quantized:
                return {"other": f"a tensor of {value.dtype}"}
            if value.dim() > 8:
                return {"other": "a tensor of more than 8 axes"}
            stored = value.to(torch.int64) if value.dtype == torch.int32 else value
            return {"tensor": self.tensor(stored), "leaf": value.is_leaf and value.requires_grad}
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"number": str(value)}
        if isinstance(value, (list, tuple)):
            return [self.encode(v) for v in value]
        if isinstance(value, torch.dtype):
            return {"dtype": name_of_dtype(value)}
        if isinstance(value, slice):
            return {"slice": [value.start, value.stop, value.step]}
        return {"other": repr(value)[:80]}


def tensors_of(value):
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [t for v in value for t in tensors_of(v)]
    return []


def with_leaves(value, leaves):
    """The same, each tensor that wants a gradient a leaf of its own, which is added to `leaves`."""
    if isinstance(value, torch.Tensor):
        if not value.requires_grad:
            return value
        leaf = value.detach().clone().requires_grad_()
        leaves.append(leaf)
        return leaf
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return value
    if isinstance(value, (list, tuple)):
        return type(value)(with_leaves(v, leaves) for v in value)
    if isinstance(value, dict):
        return {k: with_leaves(v, leaves) for k, v in value.items()}
    return value


def random_like(x, generator):
    return torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.dtype)


def gradients(file, outputs, leaves, generator):
    """dy for each floating output, dx for each leaf, and what dx gives with v, by the leaves again."""
    ys = [y for y in outputs if y.is_floating_point() and y.requires_grad]
    if not ys or not leaves:
        return {}
    dys = [random_like(y, generator) for y in ys]
    dxs = torch.autograd.grad(ys, leaves, dys, create_graph=True, allow_unused=True)
    found = {"dy": [file.encode(dy) for dy in dys], "dx": [file.encode(dx) for dx in dxs]}
    second = [dx for dx in dxs if dx is not None and dx.requires_grad]
    if second:
        vs = [random_like(dx, generator) if dx is not None and dx.requires_grad else None for dx in dxs]
        try:
            ddxs = torch.autograd.grad(second, leaves, [v for v in vs if v is not None], allow_unused=True)
            found |= {"v": [file.encode(v) for v in vs], "ddx": [file.encode(d) for d in ddxs]}
        except RuntimeError:
            pass  # it has no second order
    return found


def add(file, function, args, kwargs, dtype, generator, extra=None, parameters=()):
    leaves = []
    args, kwargs = with_leaves(list(args), leaves), with_leaves(dict(kwargs), leaves)
    sample = {"dtype": name_of_dtype(dtype), "args": file.encode(args),
              "kwargs": {k: file.encode(v) for k, v in kwargs.items()}, **(extra or {})}
    given = {t.dtype for t in tensors_of([args, kwargs])}
    sample["mixed"] = len(given) > 1
    y = function(*args, **kwargs)
    outputs = tensors_of(y)
    if not dtype.is_floating_point and any(o.is_floating_point() for o in outputs):
        return  # integers that become floating numbers: there is no promotion here
    sample["y"] = [file.encode(o) for o in outputs] if outputs else file.encode(y)
    sample |= gradients(file, outputs, leaves + list(parameters), generator)
    file.samples.append(sample)


def samples_of_op(op, dtype):
    """Evenly chosen where there are thousands, and without the few that have 100,000 elements and more."""
    wants = dtype.is_floating_point and op.supports_autograd
    try:
        samples = list(op.reference_inputs("cpu", dtype, requires_grad=wants))
    except Exception:
        samples = list(op.sample_inputs("cpu", dtype, requires_grad=wants))
    samples = [s for s in samples if sum(t.numel() for t in tensors_of([s.input, s.args, s.kwargs])) < 100_000]
    return samples[:: (len(samples) + MOST - 1) // MOST or 1]


def dump_op(file, op, generator):
    for dtype in DTYPES:
        if dtype in op.supported_dtypes("cpu"):
            for sample in samples_of_op(op, dtype):
                try:
                    add(file, op.op, [sample.input, *sample.args], sample.kwargs, dtype, generator)
                except (RuntimeError, TypeError, NotImplementedError):
                    pass  # what PyTorch refuses itself


def named_options(module, args, kwargs):
    """What the constructor got, by its parameters' names."""
    first = torch.nn.RNNCell if issubclass(module, torch.nn.RNNBase) else module  # whose names RNNBase shares
    options = inspect.signature(first.__init__).bind_partial(None, *args).arguments | kwargs
    return {k: v for k, v in options.items() if k not in ("self", "device", "dtype")}


def dump_module(file, info, generator):
    for dtype in DTYPES[:2]:
        for training in [True, False] if info.train_and_eval_differ else [True]:
            for sample in info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True, training=training):
                if sample.forward_input is None:
                    continue
                made, given = sample.constructor_input, sample.forward_input
                torch.manual_seed(len(file.samples))
                try:
                    module = info.module_cls(*made.args, **made.kwargs).to(dtype).train(training)
                    state = {k: file.encode(v) for k, v in module.state_dict().items()}
                    names = [k for k, _ in module.named_parameters()]
                    extra = {"state": state, "training": training, "parameters": names}
                    add(file, module, given.args, given.kwargs, dtype, generator, extra, module.parameters())
                    options = named_options(info.module_cls, made.args, made.kwargs)
                    file.samples[-1]["kwargs"] |= {k: file.encode(v) for k, v in options.items()}
                except (RuntimeError, TypeError, NotImplementedError):
                    pass


def write(folder, name, file):
    save_file(file.tensors, os.path.join(folder, name + ".safetensors"))
    with open(os.path.join(folder, name + ".json"), "w") as out:
        json.dump(file.samples, out)
    print(name, len(file.samples), flush=True)


def main(folder, names):
    os.makedirs(folder, exist_ok=True)
    ops = {op.name + ("." + op.variant_test_name if op.variant_test_name else ""): op for op in op_db}
    modules = {"nn." + info.module_cls.__name__: info for info in module_db}
    for name in names or OPS + ["nn." + m for m in MODULES]:
        file, generator = File(), torch.Generator().manual_seed(1)
        torch.manual_seed(1)
        if name in ops:
            dump_op(file, ops[name], generator)
        elif name in modules:
            dump_module(file, modules[name], generator)
        else:
            print(name, "is not among PyTorch's", file=sys.stderr)
            continue
        write(folder, name, file)


main(sys.argv[1], sys.argv[2:])
