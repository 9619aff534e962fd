"""The training rows of the race on PyTorch with torch.compile and fused optimizers.

    torch_compile_rows.py THREADS
"""
import sys

import torch
import torch.nn.functional as F
from contestant import serve
from torch import nn

torch.set_num_threads(int(sys.argv[1]))


def training(model, optimizer, x, y):
    torch.compiler.reset()  # each row is compiled for itself, not for the shapes of those before
    loss = torch.compile(lambda x, y: F.cross_entropy(model(x), y), dynamic=False)

    def step():
        optimizer.zero_grad()
        loss(x, y).backward()
        optimizer.step()

    return step, lambda: None


def mlp(sizes, batch, norm, adam):
    layers = []
    for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
        layers.append(nn.Linear(a, b))
        if i + 2 < len(sizes):
            layers += {"none": [], "bn": [nn.BatchNorm1d(b)], "ln": [nn.LayerNorm(b)]}[norm] + [nn.ReLU()]
    model = nn.Sequential(*layers)
    if adam:
        optimizer = torch.optim.Adam(model.parameters(), fused=True)
    else:
        optimizer = torch.optim.SGD(model.parameters(), 0.01, fused=True)
    return training(model, optimizer, torch.randn(batch, sizes[0]), torch.randint(0, sizes[-1], (batch,)))


def cnn(norm):
    layers, size = [], 28
    for a, b in (1, 16), (16, 32):
        layers.append(nn.Conv2d(a, b, 3, padding=1))
        layers += {"none": [], "bn": [nn.BatchNorm2d(b)], "ln": [nn.LayerNorm((b, size, size))]}[norm]
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
        size //= 2
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * size * size, 10))
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, fused=True)
    return training(model, optimizer, torch.randn(64, 1, 28, 28), torch.randint(0, 10, (64,)))


class LastState(nn.Module):
    def __init__(self, cell, hidden):
        super().__init__()
        self.cell, self.head, self.hidden = cell, nn.Linear(hidden, 10), hidden

    def forward(self, x):
        zero = torch.zeros(x.shape[1], self.hidden)
        state = (zero, zero) if isinstance(self.cell, nn.LSTMCell) else zero
        for step in x:
            state = self.cell(step, state)
        return self.head(state[0] if isinstance(state, tuple) else state)


def recurrent(cell, steps, batch, inputs, hidden):
    model = LastState(cell(inputs, hidden), hidden)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    return training(model, optimizer, torch.randn(steps, batch, inputs), torch.randint(0, 10, (batch,)))


class GptBlock(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.in_proj, self.out_proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x):
        n, t, dim = x.shape
        q, k, v = self.in_proj(self.norm1(x)).view(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out_proj(y.transpose(1, 2).reshape(n, t, dim))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Gpt(nn.Module):
    def __init__(self, tokens, dim, layers, heads, steps):
        super().__init__()
        self.token, self.position = nn.Embedding(tokens, dim), nn.Embedding(steps, dim)
        self.blocks = nn.Sequential(*(GptBlock(dim, heads) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, tokens)

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.token(x) + self.position.weight))).flatten(0, 1)


def gpt():
    model = Gpt(65, 128, 4, 4, 128)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    return training(model, optimizer, torch.randint(0, 65, (16, 128)), torch.randint(0, 65, (16 * 128,)))


rows = {
    "tiny mlp 2-16-16-2 b4 sgd": lambda: mlp([2, 16, 16, 2], 4, "none", False),
    "rnncell 8-64 T8 b32 adam": lambda: recurrent(nn.RNNCell, 8, 32, 8, 64),
    "lstmcell 28-128 T28 b64 adam": lambda: recurrent(nn.LSTMCell, 28, 64, 28, 128),
    "gpt d128 L4 h4 T128 b16 adamw": gpt,
}
for norm in "none", "bn", "ln":
    rows[f"mlp 64-128-128-10 b32 adam {norm}"] = lambda n=norm: mlp([64, 128, 128, 10], 32, n, True)
    rows[f"mlp 784-1000-1000-10 b128 adam {norm}"] = lambda n=norm: mlp([784, 1000, 1000, 10], 128, n, True)
    rows[f"cnn 28x28 16-32 b64 sgdm {norm}"] = lambda n=norm: cnn(n)

serve(rows)
