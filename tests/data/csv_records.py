"""Writes csv_records.csv: CSV files, and the records that Python's csv module reads from them.

    python3 tests/data/csv_records.py > tests/data/csv_records.csv

A row: the file, its records, and those records as csv.writer writes them, each in hexadecimal digits; "." stands between
fields and "/" between records.
"""

import csv
import io
import itertools
import random

NAMED = [
    "a,b\n1,2\n",
    "a,b\r\n1,2\r\n",
    "a,b\r1,2\r",
    "a,b\n1,2",
    "a,b\n1,\n",
    "a,b\n1,",
    ",\n,\n",
    "a\n\n\nb\n",
    "a\r\n\r\nb",
    'a\n""\nb\n',
    '"a","b"\n"1","2"\n',
    '"a ""quoted"" word",b\n',
    '"two\nlines",b\n"three\r\nmore\rlines",c\n',
    '"",""\n',
    '""""\n',
    '"a,b",",",","\n',
    " a , b \n",
    "é,ü\n",
    '"é""",ü\n',
]


def written(records, terminator, quoting):
    """With CRLF, since csv.writer quotes "\\r" for that alone, and then with the terminator."""
    rows = []
    for record in records:
        text = io.StringIO()
        csv.writer(text, lineterminator="\r\n", quoting=quoting).writerow(record)
        rows.append(text.getvalue()[:-2] + terminator)
    return "".join(rows)


def main():
    rng = random.Random(1)
    files = list(NAMED)
    for terminator, quoting in itertools.product(["\n", "\r\n"], [csv.QUOTE_MINIMAL, csv.QUOTE_ALL]):
        for _ in range(20):
            width = rng.randint(1, 4)
            field = lambda: "".join(rng.choice(["a", "1", '"', ",", "\n", "\r", " ", "é", "\t"])
                                    for _ in range(rng.randint(0, 4)))
            records = [[field() for _ in range(width)] for _ in range(rng.randint(1, 4))]
            files.append(written(records, terminator, quoting))
    hexadecimal = lambda text: text.encode().hex()
    for text in files:
        records = [r for r in csv.reader(io.StringIO(text, newline=""), strict=True) if r]
        print(hexadecimal(text), "/".join(".".join(map(hexadecimal, r)) for r in records),
              hexadecimal(written(records, "\n", csv.QUOTE_MINIMAL)), sep=",")


main()
