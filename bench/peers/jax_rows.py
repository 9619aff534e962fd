"""The rows of the race on JAX: whole training steps under jit, whose state is donated.

    jax_rows.py THREADS    (1 binds the process to one core, as XLA has no setting for it)
"""
import os
import sys
from functools import partial

if sys.argv[1] == "1":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import jax
import jax.numpy as jnp
import numpy as np
from contestant import serve

rng = np.random.default_rng(0)


def uniform(*shape):
    bound = 1 / np.sqrt(np.prod(shape[:-1])) if len(shape) > 1 else 1
    return jnp.asarray(rng.uniform(-bound, bound, shape).astype(np.float32))


def inputs(*shape):
    return jnp.asarray(rng.standard_normal(shape).astype(np.float32))


def labels(classes, *shape):
    return jnp.asarray(rng.integers(0, classes, shape).astype(np.int32))


def affine(fan_in, out):
    return uniform(fan_in, out), jnp.zeros(out)


def scale_shift(*shape):
    return jnp.ones(shape), jnp.zeros(shape)


def normalize(x, weight, bias, axes):
    centred = x - x.mean(axes, keepdims=True)
    return centred * jax.lax.rsqrt((centred**2).mean(axes, keepdims=True) + 1e-5) * weight + bias


def cross_entropy(logits, y):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean()


def zeros_like(tree):
    return jax.tree.map(jnp.zeros_like, tree)


def adam(params, lr=1e-3, weight_decay=0.0):
    """The optimizer's first state, and state, gradients -> state."""

    def update(state, grads):
        p, m, v, t = state
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
        a, b = 1 - 0.9**t, 1 - 0.999**t
        p = jax.tree.map(
            lambda p, m, v: p * (1 - lr * weight_decay) - lr / a * m / (jnp.sqrt(v / b) + 1e-8), p, m, v
        )
        return p, m, v, t

    return (params, zeros_like(params), zeros_like(params), jnp.float32(0)), update


def sgd(params, lr=0.01):
    return (params,), lambda state, grads: (jax.tree.map(lambda p, g: p - lr * g, state[0], grads),)


def momentum_sgd(params, lr=0.01):
    def update(state, grads):
        m = jax.tree.map(lambda m, g: 0.9 * m + g, state[1], grads)
        return jax.tree.map(lambda p, m: p - lr * m, state[0], m), m

    return (params, zeros_like(params)), update


def training(optimizer, loss, *data):
    state, update = optimizer

    @partial(jax.jit, donate_argnums=0)
    def train(state, *data):
        return update(state, jax.grad(loss)(state[0], *data))

    def step():
        nonlocal state
        state = train(state, *data)

    return step, lambda: jax.block_until_ready(state)


def mlp(sizes, batch, norm, optimizer):
    params = [(affine(a, b), scale_shift(b)) for a, b in zip(sizes, sizes[1:])]

    def loss(params, x, y):
        for (w, b), affine in params[:-1]:
            x = x @ w + b
            if norm != "none":
                x = normalize(x, *affine, 0 if norm == "bn" else -1)
            x = jax.nn.relu(x)
        (w, b), _ = params[-1]
        return cross_entropy(x @ w + b, y)

    return training(optimizer(params), loss, inputs(batch, sizes[0]), labels(sizes[-1], batch))


def conv3x3(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def max_pool(x):
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def cnn(norm):
    def block(a, b, size):
        weights = scale_shift(size, size, b) if norm == "ln" else scale_shift(b)
        return uniform(3, 3, a, b), jnp.zeros(b), weights

    params = [block(1, 16, 28), block(16, 32, 14)], affine(32 * 7 * 7, 10)

    def loss(params, x, y):
        blocks, (w, b) = params
        for kernel, bias, weights in blocks:
            x = conv3x3(x, kernel) + bias
            if norm != "none":
                x = normalize(x, *weights, (0, 1, 2) if norm == "bn" else (1, 2, 3))
            x = max_pool(jax.nn.relu(x))
        return cross_entropy(x.reshape(len(x), -1) @ w + b, y)

    return training(momentum_sgd(params), loss, inputs(64, 28, 28, 1), labels(10, 64))


def rnn_cell():
    params = affine(8, 64), uniform(64, 64), affine(64, 10)

    def loss(params, x, y):
        (wx, b), wh, (w, c) = params
        h = jnp.zeros((32, 64))
        for t in range(8):
            h = jnp.tanh(x[t] @ wx + h @ wh + b)
        return cross_entropy(h @ w + c, y)

    return training(adam(params), loss, inputs(8, 32, 8), labels(10, 32))


def lstm_cell():
    params = affine(28, 512), uniform(128, 512), affine(128, 10)

    def loss(params, x, y):
        (wx, b), wh, (w, bias) = params

        def cell(state, x):
            h, c = state
            i, f, g, o = jnp.split(x @ wx + h @ wh + b, 4, -1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

        (h, _), _ = jax.lax.scan(cell, (jnp.zeros((64, 128)), jnp.zeros((64, 128))), x)
        return cross_entropy(h @ w + bias, y)

    return training(adam(params), loss, inputs(28, 64, 28), labels(10, 64))


def gpt(tokens=65, dim=128, layers=4, heads=4, steps=128, batch=16):
    def block():
        return (scale_shift(dim), affine(dim, 3 * dim), affine(dim, dim),
                scale_shift(dim), affine(dim, 4 * dim), affine(4 * dim, dim))

    params = (uniform(tokens, dim), uniform(steps, dim), [block() for _ in range(layers)],
              scale_shift(dim), affine(dim, tokens))
    causal = jnp.tril(jnp.ones((steps, steps), bool))

    def loss(params, x, y):
        token, position, blocks, last, (w, b) = params
        h = token[x] + position
        for norm1, (wi, bi), (wo, bo), norm2, (wu, bu), (wd, bd) in blocks:
            qkv = (normalize(h, *norm1, -1) @ wi + bi).reshape(batch, steps, 3, heads, dim // heads)
            q, k, v = qkv.transpose(2, 0, 3, 1, 4)
            scores = jnp.where(causal, q @ k.swapaxes(2, 3) / np.sqrt(dim // heads), -jnp.inf)
            attended = (jax.nn.softmax(scores) @ v).swapaxes(1, 2).reshape(batch, steps, dim)
            h = h + attended @ wo + bo
            h = h + jax.nn.gelu(normalize(h, *norm2, -1) @ wu + bu, approximate=False) @ wd + bd
        return cross_entropy((normalize(h, *last, -1) @ w + b).reshape(-1, tokens), y.reshape(-1))

    data = labels(tokens, batch, steps), labels(tokens, batch, steps)
    return training(adam(params, weight_decay=0.01), loss, *data)


def kernel(f, *arguments):
    """f and its gradient to every argument but the last, which is dy; both results are kept."""

    @jax.jit
    def forward_backward(*arguments):
        y, back = jax.vjp(f, *arguments[:-1])
        return y, back(arguments[-1])

    results = None

    def step():
        nonlocal results
        results = forward_backward(*arguments)

    return step, lambda: jax.block_until_ready(results)


def bn2d(x, w, b):
    return normalize(x, w[:, None, None], b[:, None, None], (0, 2, 3))


def conv(a, b, size, batch):
    return kernel(lambda x, w, c: conv3x3(x, w) + c, inputs(batch, size, size, a), uniform(3, 3, a, b), jnp.zeros(b),
                  inputs(batch, size, size, b))


def same(f, *shape, weights=()):
    return kernel(f, inputs(*shape), *weights, inputs(*shape))


def exact_gelu(x):
    return jax.nn.gelu(x, approximate=False)


rows = {
    "tiny mlp 2-16-16-2 b4 sgd": lambda: mlp([2, 16, 16, 2], 4, "none", sgd),
    "rnncell 8-64 T8 b32 adam": rnn_cell,
    "lstmcell 28-128 T28 b64 adam": lstm_cell,
    "gpt d128 L4 h4 T128 b16 adamw": gpt,
    "kernel bn2d 64x64x32x32 f+b": lambda: same(bn2d, 64, 64, 32, 32, weights=scale_shift(64)),
    "kernel ln 8192x512 f+b": lambda: same(partial(normalize, axes=-1), 8192, 512, weights=scale_shift(512)),
    "kernel conv3x3 32-64 28x28 b32 f+b": lambda: conv(32, 64, 28, 32),
    "kernel conv3x3 128-128 14x14 b16 f+b": lambda: conv(128, 128, 14, 16),
    "kernel gelu 4096x512 f+b": lambda: same(exact_gelu, 4096, 512),
    "kernel softmax 4096x512 f+b": lambda: same(jax.nn.softmax, 4096, 512),
}
for norm in "none", "bn", "ln":
    rows[f"mlp 64-128-128-10 b32 adam {norm}"] = lambda n=norm: mlp([64, 128, 128, 10], 32, n, adam)
    rows[f"mlp 784-1000-1000-10 b128 adam {norm}"] = lambda n=norm: mlp([784, 1000, 1000, 10], 128, n, adam)
    rows[f"cnn 28x28 16-32 b64 sgdm {norm}"] = lambda n=norm: cnn(n)

serve(rows)
