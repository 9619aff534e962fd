"""Writes the files of tests/tensor/numpy, and what they hold as safetensors.

    python3 tests/tensor/numpy_files.py

Array x of file f is "f/x" in values.safetensors, in the dtype that it is loaded as. Files as we write them are plain_*,
those that NumPy refuses, too, refused_*, those that we alone refuse ours_refused_*.
"""

import io
import struct
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from safetensors.numpy import save_file

FOLDER = Path(__file__).parent / "numpy"
LOADED = {"f": {2: "f4", 4: "f4", 8: "f8"}, "i": "i8", "u": "i8", "b": "?"}


def loaded(x):
    to = LOADED[x.dtype.kind]
    return np.ascontiguousarray(x.astype(to[x.dtype.itemsize] if isinstance(to, dict) else to)).reshape(x.shape)


VALUES = {}


def values(file, arrays):
    VALUES.update({f"{file}/{key}": loaded(x) for key, x in arrays.items()})


def one(name, x, version=None):
    with open(FOLDER / f"{name}.npy", "wb") as file:
        npy.write_array(file, x, version=version)
    values(f"{name}.npy", {"arr_0": x})


def special(dtype):
    info = np.finfo(dtype)
    return np.array([0.0, -0.0, 1.0, -1.5, info.max, info.min, info.tiny, info.smallest_subnormal,
                     -info.smallest_subnormal * 3, np.inf, -np.inf, np.nan, 1 / 3], dtype)


def main():
    FOLDER.mkdir(exist_ok=True)
    rng = np.random.default_rng(1)
    one("plain_f4", rng.standard_normal((3, 4)).astype("<f4"))
    one("plain_f8", rng.standard_normal((2, 1, 3)).astype("<f8"))
    one("plain_i8", np.array([-(2**63), -1, 0, 2**63 - 1], "<i8"))
    one("plain_bool", np.array([[True, False], [False, True]]))
    one("plain_scalar", np.array(2.5, "<f8"))
    one("plain_empty", np.zeros((0, 5), "<f4"))
    one("plain_wide", np.zeros((1, 2, 3, 1, 1, 2, 1, 1), "<f4"))
    for code in ["f2", "f4", "f8"]:
        for order in "<>":
            one(f"special_{code}_{'big' if order == '>' else 'little'}", special(code).astype(order + code))
    for code in ["i1", "u1", "i2", "u2", "i4", "u4", "i8"]:
        info = np.iinfo(code)
        one(f"integers_{code}", np.array([[info.min, 0, 1], [2, 3, info.max]], ">" + code))
    one("integers_u8", np.array([0, 2**63 - 1], "<u8"))
    one("fortran_f4", np.asfortranarray(rng.standard_normal((2, 3, 4)).astype("<f4")))
    one("fortran_i2_big", np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)))
    one("version_2", np.arange(3.0), (2, 0))
    one("version_3", np.arange(3.0), (3, 0))
    arrays = {"layer.weight": rng.standard_normal((3, 4)).astype("<f4"), "layer.bias": np.arange(3), "é/x": np.array(True)}
    np.savez(FOLDER / "stored.npz", **arrays)
    values("stored.npz", arrays)
    np.savez_compressed(FOLDER / "deflated.npz", **arrays)
    values("deflated.npz", arrays)
    np.savez(FOLDER / "none.npz")

    def raw(name, header, data=b"", version=1, magic=b"\x93NUMPY"):
        text = header.encode()
        length = struct.pack("<H" if version == 1 else "<I", len(text))
        (FOLDER / f"refused_{name}.npy").write_bytes(magic + bytes([version, 0]) + length + text + data)

    good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n"
    raw("magic", good, b"\0" * 8, magic=b"\x93NUMPX")
    raw("version", good, b"\0" * 8, version=4)
    raw("short", good, b"\0" * 7)
    raw("shape", good.replace("(2,)", "(1000000000000,)"), b"\0" * 8)
    raw("overflow", good.replace("(2,)", "(4294967296, 4294967296, 4)"), b"\0" * 8)
    raw("negative", good.replace("(2,)", "(-2,)"), b"\0" * 8)
    raw("no_tuple", good.replace("(2,)", "(2)"), b"\0" * 8)
    raw("no_shape", "{'descr': '<f4', 'fortran_order': False}\n", b"\0" * 8)
    raw("another_key", good.replace("'shape'", "'more': 1, 'shape'"), b"\0" * 8)
    raw("no_dictionary", "[]\n", b"\0" * 8)
    raw("not_closed", good.replace("}", ""), b"\0" * 8)
    raw("no_flag", good.replace("False", "0"), b"\0" * 8)
    raw("type", good.replace("<f4", "<f3"), b"\0" * 8)
    raw("object", good.replace("<f4", "|O"), b"\0" * 8)
    raw("long_header", good.replace("}", " " * 10000 + "}"), b"\0" * 8)
    for name, x in {"complex": np.zeros(2, "c8"), "text": np.array(["ab"]), "structure": np.zeros(1, "f4,i4")}.items():
        np.save(FOLDER / f"ours_refused_{name}.npy", x)  # what NumPy reads and we do not
    np.save(FOLDER / "ours_refused_integer.npy", np.array([2**63], "u8"))
    for path in FOLDER.glob("refused_*.npy"):
        try:
            npy.read_array(io.BytesIO(path.read_bytes()), allow_pickle=False)
        except Exception:  # of many kinds
            continue
        raise SystemExit(f"NumPy reads {path}")
    save_file(VALUES, FOLDER / "values.safetensors")


main()
