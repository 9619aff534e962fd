"""Writes metrics.safetensors: what scikit-learn computes, read by test_metrics.cc.

    pip install scikit-learn==1.9.1; python make_metrics.py
"""

import json
import pathlib
import struct

import numpy as np
from sklearn import metrics as sk

tensors = {}
draw = np.random.default_rng(18)


def put(name, value):
    x = np.asarray(value)
    tensors[name] = np.ascontiguousarray(x, np.int64 if x.dtype.kind in "ib" else np.float64)


def classes(name, n, count):
    labels = draw.integers(0, count, n)
    scores = draw.normal(size=(n, count)) + 1.5 * np.eye(count)[labels]
    predicted = scores.argmax(1)
    put(f"{name}/scores", scores)
    put(f"{name}/labels", labels)
    put(f"{name}/predicted", predicted)
    every = list(range(count))
    put(f"{name}/accuracy", sk.accuracy_score(labels, predicted))
    if count > 2:
        for k in (1, 2, 3):
            put(f"{name}/top{k}", sk.top_k_accuracy_score(labels, scores, k=k, labels=every))
    put(f"{name}/confusion", sk.confusion_matrix(labels, predicted, labels=every))
    for average in ("macro", "micro", None):
        found = sk.precision_recall_fscore_support(labels, predicted, labels=every, average=average, zero_division=0)
        put(f"{name}/{average or 'each'}", np.stack([np.atleast_1d(x) for x in found[:3]], 1))
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    put(f"{name}/perplexity", np.exp(sk.log_loss(labels, p, labels=every)))


classes("five", 60, 5)
classes("two", 40, 2)
classes("absent", 6, 9)  # some classes have no item, some are never predicted

for name, shape in (("line", (30,)), ("outputs", (30, 3))):
    targets = draw.normal(size=shape) * 3 + 100
    predicted = targets + draw.normal(size=shape)
    put(f"r2.{name}/targets", targets)
    put(f"r2.{name}/predicted", predicted)
    put(f"r2.{name}/r2", sk.r2_score(targets, predicted))

for name, digits in (("plain", 9), ("ties", 0)):
    labels = draw.integers(0, 2, 50)
    scores = np.round(draw.normal(size=50) + labels, digits)
    put(f"auc.{name}/labels", labels)
    put(f"auc.{name}/scores", scores)
    put(f"auc.{name}/auc", sk.roc_auc_score(labels, scores))

header, data = {}, b""
for name, x in tensors.items():
    begin, data = len(data), data + x.tobytes()
    header[name] = dict(
        dtype="I64" if x.dtype == np.int64 else "F64", shape=list(x.shape), data_offsets=[begin, len(data)]
    )
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
target = pathlib.Path(__file__).with_name("metrics.safetensors")
target.write_bytes(struct.pack("<Q", len(text)) + text + data)
print(f"{target.name} {len(text) + 8 + len(data)} bytes, {len(tensors)} tensors")
