"""recompute.py FOLDER: recomputes every estimate, interval, p-value and verdict of FOLDER/claims.json from the CSVs.

Written from docs and papers with NumPy and SciPy, without the program's code; not needed to build or test.
"""
import csv
import json
import math
import pathlib
import sys
from collections import defaultdict

import numpy as np
from scipy import stats

ALPHA = 0.05


def read(folder):
    rows = {}
    for path in folder.glob("*.csv"):
        with open(path, newline="") as file:
            rows[path.stem] = list(csv.DictReader(file))
    return rows


def matches(row, series):
    return all(series[key] in ("", row[key]) for key in ("part", "norm", "cell", "quantity"))


def table(rows, series, items):
    values = defaultdict(dict)
    for row in rows:
        if matches(row, series) and (int(row["item"]) >= 0) == items:
            values[int(row["seed"])][int(row["item"])] = float(row["value"])
    return values


def t_estimate(d):
    d = np.asarray(d)
    return d.mean(), d.std(ddof=1) / math.sqrt(len(d)), len(d) - 1


def two_way(d):
    n, m = d.shape
    rows, columns, mean = d.mean(1), d.mean(0), d.mean()
    ms_s = m * ((rows - mean) ** 2).sum() / (n - 1)
    ms_i = n * ((columns - mean) ** 2).sum() / (m - 1)
    rest = d - rows[:, None] - columns[None, :] + mean
    ms_si = (rest**2).sum() / ((n - 1) * (m - 1))
    total = ms_s + ms_i - ms_si
    if total >= max(ms_s, ms_i):
        degrees = total**2 / (ms_s**2 / (n - 1) + ms_i**2 / (m - 1) + ms_si**2 / ((n - 1) * (m - 1)))
        return mean, math.sqrt(total / (n * m)), degrees
    return mean, math.sqrt(max(ms_s, ms_i) / (n * m)), (n - 1) if ms_s >= ms_i else (m - 1)


def estimate(rows, claim):
    a, b, measure = claim["a"], claim["b"], claim["measure"]
    if measure == "bound":
        return max((abs(float(r["value"])) for r in rows if matches(r, a)), default=None), None, None
    if measure == "slope":
        points = defaultdict(list)
        for row in rows:
            if matches(row, a) and int(row["item"]) < 0 and float(row["x"]) > 0:
                points[int(row["seed"])].append((math.log2(float(row["x"])), float(row["value"])))
        return t_estimate([stats.linregress(*zip(*p)).slope for p in points.values()])
    if measure == "log_ratio":
        x, y = table(rows, a, True), table(rows, b, True)
        seeds = sorted(set(x) & set(y))
        if seeds:
            items = sorted(x[seeds[0]])
            ax = np.array([[x[s][i] for i in items] for s in seeds])
            by = np.array([[y[s][i] for i in items] for s in seeds])
            ma, mb = ax.mean(1, keepdims=True), by.mean(1, keepdims=True)
            return two_way(np.log(ma / mb) + ax / ma - by / mb)
    x, y = table(rows, a, False), table(rows, b, False)
    seeds = sorted(set(x) & set(y))
    d = [math.log(x[s][-1] / y[s][-1]) if measure == "log_ratio" else x[s][-1] - y[s][-1] for s in seeds]
    return t_estimate(d)


def main(folder):
    rows = read(folder)
    claims = json.loads((folder / "claims.json").read_text())
    tests, wrong = [], 0

    def differs(claim, what, found, told):
        nonlocal wrong
        if found is None or not math.isclose(found, told, rel_tol=1e-6, abs_tol=1e-9):
            print(f"{claim['endpoint']}: {what} is {found}, claims.json says {told}")
            wrong += 1

    for claim in claims["endpoints"]:
        mean, error, degrees = estimate(rows[claim["experiment"]], claim)
        differs(claim, "estimate", mean, claim["estimate"])
        if claim["measure"] == "bound":
            verdict = "exact" if mean < claim["margin"] else "opposite"
            if verdict != claim["verdict"]:
                print(f"{claim['endpoint']}: {verdict}, claims.json says {claim['verdict']}")
                wrong += 1
            continue
        p = 2 * stats.t.sf(abs(mean) / error, degrees) if error > 0 else float(mean == 0)
        half = stats.t.ppf(0.975, degrees) * error
        for what, value in (("standard_error", error), ("degrees", degrees), ("low", mean - half),
                            ("high", mean + half), ("p", p)):
            differs(claim, what, value, claim[what])
        tests.append((p, mean, error, degrees, claim))

    family = claims["family"]  # tests in it, made or not
    largest = 0
    for rank, (p, mean, error, degrees, claim) in enumerate(sorted(tests, key=lambda t: t[0])):
        largest = max(largest, (family - rank) * p)
        adjusted = min(1, largest)
        differs(claim, "p_holm", adjusted, claim["p_holm"])
        half90 = stats.t.ppf(0.95, degrees) * error
        if adjusted < ALPHA and abs(mean) > claim["margin"]:
            verdict = "opposite" if mean * claim["sign"] < 0 else "shown with limits" if claim["limits"] else "shown"
        elif mean - half90 > -claim["margin"] and mean + half90 < claim["margin"]:
            verdict = "equivalent"
        else:
            verdict = "undecided"
        if claim.get("at_edge"):
            verdict = "undecided"
        if verdict != claim["verdict"]:
            print(f"{claim['endpoint']}: {verdict}, claims.json says {claim['verdict']}")
            wrong += 1
    print(f"{len(claims['endpoints'])} endpoints, {len(tests)} tests recomputed, {wrong} differences")
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
