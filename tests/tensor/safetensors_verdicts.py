"""Writes safetensors_verdicts.csv: files, most of them malformed, and whether the reference reader takes them.

    python3 -m venv venv && venv/bin/pip install safetensors==0.8.0 numpy
    venv/bin/python tests/tensor/safetensors_verdicts.py > tests/tensor/safetensors_verdicts.csv

The reference reader is that of the safetensors package (Rust), with a look at each tensor. A row: what is special, taken
or refused, the file in hexadecimal digits.
"""

import struct

from safetensors import SafetensorError, deserialize


def file(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype="F32", shape="[1]", offsets="[0,4]", extra=""):
    return f'{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}{extra}}}'


def one(text, data=b"\0" * 4):
    return file('{"a":' + text + "}", data)


FOUR, EIGHT = b"\0" * 4, b"\0" * 8
A = entry()
B = entry(offsets="[4,8]")
FILES = {
    "one tensor": one(A),
    "two tensors": file(f'{{"a":{A},"b":{B}}}', EIGHT),
    "two tensors, the second first": file(f'{{"b":{B},"a":{A}}}', EIGHT),
    "no tensors": file("{}"),
    "no bytes": b"",
    "seven bytes": b"\0" * 7,
    "a header of no bytes": file(""),
    "a header longer than the file": file("{}", length=100),
    "a header of 2^63 bytes": file("{}", length=1 << 63),
    "a header of 2^64 - 1 bytes": file("{}", length=(1 << 64) - 1),
    "a header cut in its middle": file(f'{{"a":{A}}}', FOUR, length=20),
    "spaces behind the header": file(f'{{"a":{A}}}   ', FOUR),
    "spaces before the header": file(f'   {{"a":{A}}}', FOUR),
    "a tab and a line break behind the header": file(f'{{"a":{A}}}\t\n', FOUR),
    "spaces between everything": file(f'{{ "a" : {A.replace(",", " , ")} }}', FOUR),
    "zeros behind the header": file(f'{{"a":{A}}}'.encode() + b"\0\0", FOUR),
    "text behind the header": file(f'{{"a":{A}}}x', FOUR),
    "two objects": file(f'{{"a":{A}}}{{}}', FOUR),
    "a byte order mark": file(b"\xef\xbb\xbf" + f'{{"a":{A}}}'.encode(), FOUR),
    "a list for a header": file("[]"),
    "null for a header": file("null"),
    "a number for a header": file("1"),
    "text for a header": file('"a"'),
    "a header that is not UTF-8": file(b'{"\xff":' + A.encode() + b"}", FOUR),
    "a comma at the end": file(f'{{"a":{A},}}', FOUR),
    "a comment": file(f'{{"a":{A}/* */}}', FOUR),
    "single quotes": file(f"{{'a':{A}}}", FOUR),
    "NaN": one(entry(extra=',"x":NaN')),
    "a name twice": file(f'{{"a":{A},"a":{A}}}', FOUR),
    "a name twice, elsewhere": file(f'{{"a":{A},"a":{B}}}', EIGHT),
    "a name twice, by an escape": file(f'{{"a":{A},"\\u0061":{B}}}', EIGHT),
    "a name of no letters": file(f'{{"":{A}}}', FOUR),
    "a name with a zero": file(f'{{"a\\u0000b":{A}}}', FOUR),
    "a name of one half of a surrogate pair": file(f'{{"\\ud800":{A}}}', FOUR),
    "a control character in a name": file(b'{"a\x01":' + A.encode() + b"}", FOUR),
    "null for a tensor": one("null"),
    "a list for a tensor": one('["F32",[1],[0,4]]'),
    "a list of another length for a tensor": one('["F32",[1]]'),
    "a number for a tensor": one("1"),
    "a tensor without a dtype": one('{"shape":[1],"data_offsets":[0,4]}'),
    "a tensor without a shape": one('{"dtype":"F32","data_offsets":[0,4]}'),
    "a tensor without offsets": one('{"dtype":"F32","shape":[1]}'),
    "a field that is not known": one(entry(extra=',"x":1')),
    "a field that is not known, a deep one": one(entry(extra=',"x":' + "[" * 10 + "]" * 10)),
    "nested 124 deep": one(entry(extra=',"x":' + "[" * 122 + "]" * 122)),
    "nested 127 deep": one(entry(extra=',"x":' + "[" * 125 + "]" * 125)),
    "nested 130 deep": one(entry(extra=',"x":' + "[" * 128 + "]" * 128)),
    "dtype twice": one(entry(extra=',"dtype":"F32"')),
    "shape twice": one(entry(extra=',"shape":[1]')),
    "data_offsets twice": one(entry(extra=',"data_offsets":[0,4]')),
    "a field that is not known twice": one(entry(extra=',"x":1,"x":2')),
    "a dtype in small letters": one(entry("f32")),
    "a dtype that there is not": one(entry("F33")),
    "an empty dtype": one(entry("")),
    "a number for a dtype": one('{"dtype":1,"shape":[1],"data_offsets":[0,4]}'),
    "null for a dtype": one('{"dtype":null,"shape":[1],"data_offsets":[0,4]}'),
    "an object for a dtype": one('{"dtype":{"F32":null},"shape":[1],"data_offsets":[0,4]}'),
    "a list for a dtype": one('{"dtype":["F32"],"shape":[1],"data_offsets":[0,4]}'),
    "a shape of no axes": one(entry(shape="[]")),
    "a shape with a zero": file('{"a":' + entry(shape="[0]", offsets="[0,0]") + "}"),
    "a shape with a zero and a large size": file(
        '{"a":' + entry(shape="[0,4611686018427387904]", offsets="[0,0]") + "}"),
    "a shape with a zero behind sizes that overflow": file(
        '{"a":' + entry(shape="[4294967296,4294967296,0]", offsets="[0,0]") + "}"),
    "a shape that overflows": one(entry(shape="[4294967296,4294967296]")),
    "a shape whose bytes overflow": one(entry(shape="[4611686018427387905]")),
    "a negative size": one(entry(shape="[-1]")),
    "a fraction for a size": one(entry(shape="[1.5]")),
    "a whole fraction for a size": one(entry(shape="[1.0]")),
    "a size with an exponent": one(entry(shape="[1e0]")),
    "a size of 2^64": one(entry(shape="[18446744073709551616]")),
    "text for a size": one(entry(shape='["1"]')),
    "null for a size": one(entry(shape="[null]")),
    "true for a size": one(entry(shape="[true]")),
    "a list for a size": one(entry(shape="[[1]]")),
    "a number for a shape": one(entry(shape="1")),
    "null for a shape": one(entry(shape="null")),
    "an object for a shape": one(entry(shape="{}")),
    "text for a shape": one(entry(shape='"1"')),
    "a zero before a size": one(entry(shape="[01]")),
    "minus zero for a size": file('{"a":' + entry(shape="[-0]", offsets="[0,0]") + "}"),
    "one offset": one(entry(offsets="[0]")),
    "no offsets": one(entry(offsets="[]")),
    "three offsets": one(entry(offsets="[0,4,4]")),
    "null for offsets": one(entry(offsets="null")),
    "an object for offsets": one(entry(offsets='{"0":0}')),
    "a negative offset": one(entry(offsets="[-4,0]")),
    "a fraction for an offset": one(entry(offsets="[0.0,4.0]")),
    "offsets that go back": one(entry(offsets="[4,0]")),
    "offsets behind the end": one(entry(offsets="[4,8]")),
    "an offset of 2^63": one(entry(offsets="[0,9223372036854775808]")),
    "an offset of 2^64 - 1": one(entry(offsets="[18446744073709551611,18446744073709551615]")),
    "fewer bytes than the shape": one(entry(shape="[2]")),
    "more bytes than the shape": one(entry(offsets="[0,8]"), EIGHT),
    "a file shorter than its tensors": one(A, b"\0" * 3),
    "a byte behind the tensors": one(A, b"\0" * 5),
    "bytes behind no tensors": file("{}", b"\0"),
    "a hole before the first": one(entry(offsets="[4,8]"), EIGHT),
    "a hole between two": file(f'{{"a":{A},"b":{entry(offsets="[8,12]")}}}', b"\0" * 12),
    "two tensors in one place": file(f'{{"a":{A},"b":{A}}}', FOUR),
    "two tensors that overlap": file(
        f'{{"a":{entry(shape="[2]", offsets="[0,8]")},"b":{B}}}', EIGHT),
    "an empty one at the end": file(f'{{"a":{A},"b":{entry(shape="[0]", offsets="[4,4]")}}}', FOUR),
    "an empty one in between": file(
        f'{{"a":{A},"b":{B},"c":{entry(shape="[0]", offsets="[4,4]")}}}', EIGHT),
    "an empty one inside another": file(
        f'{{"a":{A},"b":{entry(shape="[0]", offsets="[2,2]")}}}', FOUR),
    "an empty one behind the end": file(
        f'{{"a":{A},"b":{entry(shape="[0]", offsets="[8,8]")}}}', FOUR),
    "metadata": file(f'{{"__metadata__":{{"x":"y"}},"a":{A}}}', FOUR),
    "metadata behind": file(f'{{"a":{A},"__metadata__":{{"x":"y"}}}}', FOUR),
    "no metadata in it": file(f'{{"__metadata__":{{}},"a":{A}}}', FOUR),
    "metadata alone": file('{"__metadata__":{"x":"y"}}'),
    "null for metadata": file(f'{{"__metadata__":null,"a":{A}}}', FOUR),
    "text for metadata": file(f'{{"__metadata__":"x","a":{A}}}', FOUR),
    "a list for metadata": file(f'{{"__metadata__":[],"a":{A}}}', FOUR),
    "a number for metadata": file(f'{{"__metadata__":1,"a":{A}}}', FOUR),
    "a tensor for metadata": file(f'{{"__metadata__":{A}}}', FOUR),
    "a number in metadata": file(f'{{"__metadata__":{{"x":1}},"a":{A}}}', FOUR),
    "null in metadata": file(f'{{"__metadata__":{{"x":null}},"a":{A}}}', FOUR),
    "true in metadata": file(f'{{"__metadata__":{{"x":true}},"a":{A}}}', FOUR),
    "a list in metadata": file(f'{{"__metadata__":{{"x":[]}},"a":{A}}}', FOUR),
    "an object in metadata": file(f'{{"__metadata__":{{"x":{{}}}},"a":{A}}}', FOUR),
    "a name twice in metadata": file(f'{{"__metadata__":{{"x":"y","x":"z"}},"a":{A}}}', FOUR),
    "metadata twice": file(f'{{"__metadata__":{{"x":"y"}},"__metadata__":{{"x":"y"}},"a":{A}}}', FOUR),
    "a header whose length is no multiple of eight": file(f'{{"ab":{A}}}', FOUR),
    "BOOL bytes": one(entry("BOOL", "[4]"), b"\0\1\0\1"),
    "I64": one(entry("I64", offsets="[0,8]"), EIGHT),
    "F64": one(entry("F64", offsets="[0,8]"), EIGHT),
    "a dtype of another size": one(entry("F64")),
}


def verdict(data):
    try:
        deserialize(data)
    except SafetensorError:
        return "refused"
    return "taken"


print("# made by safetensors_verdicts.py with safetensors 0.8.0")
for name, data in FILES.items():
    print(f"{name};{verdict(data)};{data.hex()}")
