"""recompute.py FOLDER [PILOT]: recomputes every estimate, interval, p-value and verdict of FOLDER/claims.json from the
CSVs; and the power that report.html tells, from the components in PILOT, pilot.csv of the source as it is left out.

Written from docs and papers with NumPy and SciPy, without the program's code; not needed to build or test.
"""
import csv
import json
import math
import pathlib
import re
import sys
from collections import defaultdict

import numpy as np
from scipy import stats

ALPHA = 0.05
PILOT = pathlib.Path(__file__).resolve().parents[2] / "lab/study/pilot.csv"


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


def mean_squares(d):
    n, m = d.shape
    rows, columns, mean = d.mean(1), d.mean(0), d.mean()
    ms_s = m * ((rows - mean) ** 2).sum() / (n - 1)
    ms_i = n * ((columns - mean) ** 2).sum() / (m - 1)
    rest = d - rows[:, None] - columns[None, :] + mean
    return ms_s, ms_i, (rest**2).sum() / ((n - 1) * (m - 1))


def components(d):
    """Variances over seeds, over items, and of the rest."""
    d = np.asarray(d)
    if d.ndim == 1:
        return d.var(ddof=1), 0, 0
    n, m = d.shape
    ms_s, ms_i, ms_si = mean_squares(d)
    return max(0, (ms_s - ms_si) / m), max(0, (ms_i - ms_si) / n), ms_si


def power(effect, v, n, m, alpha):
    """Of a two-sided t-test whose standard error and degrees are those of expected mean squares."""
    if m == 0:
        error, degrees = math.sqrt(v[0] / n), n - 1
    else:
        ms = m * v[0] + v[2], n * v[1] + v[2], v[2]
        total = ms[0] + ms[1] - ms[2]
        error = math.sqrt(total / (n * m))
        degrees = total**2 / (ms[0] ** 2 / (n - 1) + ms[1] ** 2 / (m - 1) + ms[2] ** 2 / ((n - 1) * (m - 1)))
    critical = stats.t.ppf(1 - alpha / 2, degrees)
    t = stats.nct(degrees, abs(effect) / error)
    return t.sf(critical) + np.nan_to_num(t.cdf(-critical))  # SciPy's lower tail ends where it is 0


def two_way(d):
    n, m = d.shape
    mean = d.mean()
    ms_s, ms_i, ms_si = mean_squares(d)
    total = ms_s + ms_i - ms_si
    if total >= max(ms_s, ms_i):
        degrees = total**2 / (ms_s**2 / (n - 1) + ms_i**2 / (m - 1) + ms_si**2 / ((n - 1) * (m - 1)))
        return mean, math.sqrt(total / (n * m)), degrees
    return mean, math.sqrt(max(ms_s, ms_i) / (n * m)), (n - 1) if ms_s >= ms_i else (m - 1)


def bound(rows, claim):
    return max((abs(float(r["value"])) for r in rows if matches(r, claim["a"])), default=None)


def differences(rows, claim):
    """Those of the seeds, or of seeds and items."""
    a, b, measure = claim["a"], claim["b"], claim["measure"]
    if measure == "slope":
        points = defaultdict(list)
        for row in rows:
            if matches(row, a) and int(row["item"]) < 0 and float(row["x"]) > 0:
                points[int(row["seed"])].append((math.log2(float(row["x"])), float(row["value"])))
        return np.array([stats.linregress(*zip(*p)).slope for p in points.values()])
    if measure == "difference":
        x, y = table(rows, a, False), table(rows, b, False)
        return np.array([x[s][-1] - y[s][-1] for s in sorted(set(x) & set(y))])
    terms = [(1, a), (-1, b)]
    if claim.get("baseline"):
        terms += [(-sign, {**series, "cell": claim["baseline"]}) for sign, series in terms]
    for items in (True, False):
        tables = [(sign, table(rows, series, items)) for sign, series in terms]
        seeds = sorted(set.intersection(*(set(t) for _, t in tables)))
        if seeds:
            break
    names = sorted(tables[0][1][seeds[0]])
    d = 0
    for sign, values in tables:
        losses = np.array([[values[s][i] for i in names] for s in seeds])
        mean = losses.mean(1, keepdims=True)
        d = d + sign * (np.log(mean) + losses / mean - 1)
    return d if items else d[:, 0]


def estimate(d):
    return two_way(d) if d.ndim == 2 else t_estimate(d)


def at_edge(rows, claim):
    told = [{**claim[s], "quantity": "at edge"} for s in ("a", "b")]
    return any(float(r["value"]) for r in rows for series in told if matches(r, series))


def check_pilot(path, claims, page):
    """The pilot's table in the page, cell by cell: how many numbers differ."""
    by_name = {claim["endpoint"]: claim for claim in claims["endpoints"]}
    alpha, checked, wrong = ALPHA / claims["family"], 0, 0
    with open(path, newline="") as file:
        for line in csv.DictReader(file):
            name, claim = line["endpoint"], by_name.get(line["endpoint"])
            if claim is None:
                continue
            v = [float(line[key]) for key in ("v_seeds", "v_items", "v_rest")]
            items = int(line["items"])
            least = abs(float(line["estimate"])) - stats.t.ppf(0.8, float(line["degrees"])) * float(line["standard_error"])
            effect = max(2 * claim["margin"], least)
            needed = next((n for n in range(2, 1001) if power(effect, v, n, items, alpha) >= 0.9), None)
            table_row = re.search(rf'aria-label="Power".*?<tr><th scope="row">{re.escape(name)}</th>(.*?)</tr>', page, re.S)
            told = re.findall(r"<td[^>]*>(.*?)</td>", table_row[1])
            expected = [str(needed) if needed else "no number suffices with these items",
                        f"{power(effect, v, int(told[7]), items, alpha):.2f}"]
            checked += 1
            if [told[6], told[8]] != expected:
                print(f"{name}: needs {expected[0]} seeds, power {expected[1]}; the page says {told[6]}, {told[8]}")
                wrong += 1
    print(f"{checked} endpoints of the pilot recomputed, {wrong} differences")
    return wrong


def main(folder, pilot=PILOT):
    rows = read(folder)
    claims = json.loads((folder / "claims.json").read_text())
    tests, wrong = [], 0

    def differs(claim, what, found, told):
        nonlocal wrong
        if found is None or not math.isclose(found, told, rel_tol=1e-6, abs_tol=1e-9):
            print(f"{claim['endpoint']}: {what} is {found}, claims.json says {told}")
            wrong += 1

    for claim in claims["endpoints"]:
        own = rows[claim["experiment"]]
        if claim["measure"] == "bound":
            mean = bound(own, claim)
            differs(claim, "estimate", mean, claim["estimate"])
            verdict = "exact" if mean < claim["margin"] else "opposite"
            if verdict != claim["verdict"]:
                print(f"{claim['endpoint']}: {verdict}, claims.json says {claim['verdict']}")
                wrong += 1
            continue
        d = differences(own, claim)
        mean, error, degrees = estimate(d)
        differs(claim, "estimate", mean, claim["estimate"])
        for part, found in zip(claim["components"], components(d)):
            differs(claim, "a component", found, part)
        if at_edge(own, claim) and not claim["at_edge"]:
            print(f"{claim['endpoint']}: rests on the last setting that was tried")
            wrong += 1
        if beside := claim.get("beside"):
            d = differences(own, {**claim, "baseline": "", **beside})
            m, e, f = estimate(d)
            for what, value in (("estimate", m), ("low", m - stats.t.ppf(0.975, f) * e),
                                ("high", m + stats.t.ppf(0.975, f) * e)):
                differs(claim, "beside it " + what, value, beside[what])
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
    if (folder / "report.html").exists():
        wrong += check_pilot(pilot, claims, (folder / "report.html").read_text())
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main(*map(pathlib.Path, sys.argv[1:])))
