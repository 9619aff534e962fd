"""Characters a second that PyTorch generates: the models of bench/generation.cc, eager, in inference mode, one thread.

    torch_generation.py
"""
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
VOCABULARY, CONTEXT = 65, 128
CHARACTERS = CONTEXT - 1


class Lstm(nn.Module):
    def __init__(self, hidden=128):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, hidden)
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True)
        self.head = nn.Linear(hidden, VOCABULARY)

    def start(self):
        return None

    def step(self, tokens, state):
        y, state = self.lstm(self.embedding(tokens), state)
        return self.head(y[:, -1]), state


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.in_proj, self.out_proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.linear1, self.linear2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x, keys, values, at):
        n, steps, dim = x.shape
        qkv = self.in_proj(self.norm1(x)).view(n, steps, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        end = at + steps
        keys[:, :, at:end] = k
        values[:, :, at:end] = v
        y = F.scaled_dot_product_attention(q, keys[:, :, :end], values[:, :, :end])
        x = x + self.out_proj(y.transpose(1, 2).reshape(n, steps, dim))
        return x + self.linear2(F.gelu(self.linear1(self.norm2(x))))


class Gpt(nn.Module):
    def __init__(self, dim=128, depth=4, heads=4):
        super().__init__()
        self.shape = (2, depth, 1, heads, CONTEXT, dim // heads)
        self.embedding = nn.Embedding(VOCABULARY, dim)
        self.positions = nn.Parameter(torch.randn(CONTEXT, dim))
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, VOCABULARY, bias=False)

    def start(self):
        return 0, torch.empty(self.shape)

    def step(self, tokens, state):
        at, (keys, values) = state
        x = self.embedding(tokens) + self.positions[at : at + 1]
        for block, k, v in zip(self.blocks, keys, values):
            x = block(x, k, v, at)
        return self.head(self.norm(x[:, -1])), (at + 1, (keys, values))


def greedy(logits):
    return logits.argmax(-1, keepdim=True)


def sampled(logits):
    return torch.multinomial(F.softmax(logits, -1), 1)


def top_10(logits):
    values, indices = (logits / 0.8).topk(10)
    return indices.gather(-1, torch.multinomial(F.softmax(values, -1), 1))


@torch.inference_mode()
def generate(model, choose):
    tokens, state = torch.zeros(1, 1, dtype=torch.long), model.start()
    all_tokens = [tokens]
    for _ in range(CHARACTERS):
        logits, state = model.step(tokens, state)
        tokens = choose(logits)
        all_tokens.append(tokens)
    return torch.cat(all_tokens, 1)


def seconds(f):
    begin = time.perf_counter()
    f()
    return time.perf_counter() - begin


for name, model in [("lstm", Lstm().eval()), ("gpt", Gpt().eval())]:
    for how, choose in [("greedy", greedy), ("sampled", sampled), ("top 10 at 0.8", top_10)]:
        generate(model, choose)
        times = [seconds(lambda: generate(model, choose)) for _ in range(21)]
        print(f"{name:<6} {how:<14} {CHARACTERS / statistics.median(times):8.0f} characters/s")
