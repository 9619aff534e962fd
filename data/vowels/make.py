"""Writes vowels.bin.gz from the two files that SOURCE.md names:

    python3 make.py JapaneseVowels_TRAIN.ts.gz JapaneseVowels_TEST.ts.gz

Needs nothing but Python 3.
"""

import gzip
import pathlib
import sys


def utterances(path):
    """(12 channels of a value for each frame, class 1 to 9) for each line behind the header."""
    for line in gzip.open(path, "rt"):
        if line.strip() and line[0] not in "#@":
            *channels, label = line.strip().split(":")
            yield [[float(value) for value in channel.split(",")] for channel in channels], int(label)


both = [utterance for path in sys.argv[1:3] for utterance in utterances(path)]
lengths = bytes(len(channels[0]) for channels, _ in both)
labels = bytes(label - 1 for _, label in both)
steps = []
for channels, _ in both:
    for channel in channels:
        before = 0
        for value in channel:
            now = round(value * 10000)
            steps.append((now - before) % 65536)
            before = now
low, high = bytes(step % 256 for step in steps), bytes(step // 256 for step in steps)
packed = gzip.compress(lengths + labels + low + high, 9, mtime=0)
(pathlib.Path(__file__).parent / "vowels.bin.gz").write_bytes(packed)
