"""What contestant.h is to C++: answers the race's questions, a line each, until there are no more.

    time SECONDS ROW   the median time of a step in microseconds; `none` where there is no such row
"""
import statistics
import sys
import time


def serve(rows):
    """`rows` names functions that give (step, finish): finish() waits for the steps to be done."""
    current, work, calls = None, None, 0

    def mean_seconds(step, finish, calls):
        begin = time.perf_counter()
        for _ in range(calls):
            step()
        finish()
        return (time.perf_counter() - begin) / calls

    for line in sys.stdin:
        question, seconds, row = line.strip().split(" ", 2)
        if question != "time" or row not in rows:
            print("none", flush=True)
            continue
        if row != current:
            work = rows[row]()
            mean_seconds(*work, 5)
            calls = max(1, min(10000, int(300e-6 / mean_seconds(*work, 3))))
            current = row
        times, begin = [], time.perf_counter()
        while len(times) < 2 or time.perf_counter() - begin < float(seconds):
            times.append(mean_seconds(*work, calls))
        print(statistics.median(times) * 1e6, flush=True)
