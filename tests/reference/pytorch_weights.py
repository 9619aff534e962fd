"""Weights from PyTorch to Gradus and back.

    python3 -m venv venv && venv/bin/pip install torch==2.13.0 safetensors==0.8.0 numpy
    venv/bin/python tests/reference/pytorch_weights.py make          # writes tests/reference/weights
    venv/bin/python tests/reference/pytorch_weights.py check FILE    # what Gradus saved, with its outputs

`make` trains a small model, and saves its state_dict() (as it is, in f64, in halves, and without what plain dictionaries
lack), a batch and the model's outputs. test_weights.cc loads those, and saves states of its own; `check` loads such a
file into the same model, strictly, and compares the outputs that lie beside the state, "outputs".
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

FOLDER = Path(__file__).parent / "weights"


class Model(nn.Module):
    """Scores of images whose pixels are ids."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 3)
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.narrow = nn.Conv2d(4, 4, 1, groups=2, bias=False)
        self.head = nn.Linear(4, 5)

    def forward(self, ids):
        x = self.embedding(ids).permute(0, 3, 1, 2)
        x = torch.relu(self.norm(self.conv(x)))
        return self.head(self.narrow(x).mean((2, 3)))


def make():
    FOLDER.mkdir(exist_ok=True)
    torch.manual_seed(1)
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(10):
        loss = nn.functional.cross_entropy(model(torch.randint(7, (8, 6, 5))), torch.randint(5, (8,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    ids = torch.randint(7, (3, 6, 5))
    state = model.state_dict()
    save_file(state, FOLDER / "state.safetensors")
    floating = lambda to: {k: v.to(to) if v.is_floating_point() else v for k, v in state.items()}
    save_file(floating(torch.float64), FOLDER / "f64.safetensors")
    save_file({"model." + k: v for k, v in state.items() if "batches" not in k} | {"step": torch.tensor(10)},
              FOLDER / "plain.safetensors")
    outputs = {"ids": ids, "outputs": model(ids).detach()}
    for name, to in {"f16": torch.float16, "bf16": torch.bfloat16}.items():
        save_file(floating(to), FOLDER / f"{name}.safetensors")
        half = Model().eval()
        half.load_state_dict(floating(to))
        outputs[name] = half(ids).detach()
    save_file(outputs, FOLDER / "outputs.safetensors")
    # Of every type, and what PyTorch makes of it.
    values = {"f16": torch.tensor([0.1, -65504, 6e-8, torch.inf, torch.nan], dtype=torch.float16),
              "bf16": torch.tensor([0.1, -3e38, 1e-40, torch.inf, torch.nan], dtype=torch.bfloat16)}
    for bits in (8, 16, 32, 64):
        for kind in ("int", "uint"):
            dtype = getattr(torch, f"{kind}{bits}")
            values[f"{kind}{bits}"] = torch.tensor([torch.iinfo(dtype).min, 1, torch.iinfo(dtype).max // (1 + (dtype == torch.uint64))],
                                                   dtype=dtype)
    save_file(values, FOLDER / "types.safetensors")
    save_file({k: v.to(torch.float32 if v.is_floating_point() else torch.int64) for k, v in values.items()},
              FOLDER / "types_loaded.safetensors")


def check(path):
    state = load_file(path)
    outputs = state.pop("outputs")
    ids = state.pop("ids")
    model = Model().eval()
    model.load_state_dict(state, strict=True)
    torch.testing.assert_close(model(ids), outputs, rtol=1e-5, atol=1e-5)
    print("PyTorch's outputs are the same")


if sys.argv[1:] == ["make"]:
    make()
elif len(sys.argv) == 3 and sys.argv[1] == "check":
    check(sys.argv[2])
else:
    sys.exit(__doc__)
