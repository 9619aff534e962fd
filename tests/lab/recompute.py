"""recompute.py FOLDER [PILOT [RATES]]: recomputes every estimate, interval, p-value, edge flag and verdict of
FOLDER/claims.json from the CSVs and the table of rates; the power that report.html tells, from the components in PILOT;
and the simultaneous bands and crossings of its maps. PILOT and RATES are those of the source where they are left out.

Written from docs and papers with NumPy and SciPy, without the program's code; not needed to build or test.
"""
import csv
import html
import json
import math
import pathlib
import re
import sys
from collections import defaultdict

import numpy as np
from scipy import stats

ALPHA = 0.05
STUDY = pathlib.Path(__file__).resolve().parents[2] / "lab/study"


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


def at_edge(rows, claim, rates):
    """Whether a setting that the claim rests on was the last one tried: as rows tell, and by the rates of its cell or,
    where it has none of its own, of all cells of the net and norm."""
    series = [claim[s] for s in ("a", "b") if claim[s]["part"]]
    told = [{**s, "quantity": "at edge"} for s in series]
    if any(float(r["value"]) for r in rows for s in told if matches(r, s)):
        return True
    for s in series:
        all_cells = [r for r in rates if (r["experiment"], r["part"], r["norm"]) == (claim["experiment"], s["part"], s["norm"])]
        own = [r for r in all_cells if r["cell"] == s["cell"]]
        if any(int(r["at_edge"]) for r in own or all_cells):
            return True
    return False


def log_ratios(rows, part, norm, cells, other, other_cells):
    """x -> seed -> log(loss / the other's loss)."""
    def losses(n, wanted):
        return {(r["cell"], int(r["seed"])): (float(r["x"]), float(r["value"])) for r in rows
                if r["part"] == part and r["norm"] == n and int(r["item"]) < 0 and r["quantity"] == "loss"
                and wanted(r["cell"])}
    below = losses(other, other_cells)
    ratios = defaultdict(dict)
    for (cell, seed), (x, loss) in losses(norm, cells).items():
        match = [value for (c, s), (_, value) in below.items() if s == seed and (len({k[0] for k in below}) == 1 or c == cell)]
        if match:
            ratios[x][seed] = math.log(loss / match[0])
    return dict(sorted(ratios.items()))


def interval(values, confidence):
    mean, error, degrees = t_estimate(list(values))
    half = stats.t.ppf(0.5 + confidence / 2, degrees) * error
    return mean, mean - half, mean + half


def band_text(ratios, name, confidence):
    def of(x, values):
        return f"{name}={x:g} " + "{:.3g} [{:.3g}, {:.3g}]".format(*np.exp(interval(values.values(), confidence)))
    return ", ".join(of(x, values) for x, values in ratios.items())


def crossing_text(ratios, name, confidence):
    """Where the curve through log2 x crosses 0: between neighbouring points that exclude it with opposite signs, all x
    whose interval covers it; of the seeds that all points have."""
    seeds = sorted(set.intersection(*(set(v) for v in ratios.values())))
    x = np.log2(list(ratios))
    d = np.array([[values[s] for values in ratios.values()] for s in seeds])
    if len(seeds) < 2 or len(x) < 2:
        return ""

    def sign(values):
        _, low, high = interval(values, confidence)
        return 1 if low > 0 else -1 if high < 0 else 0

    signs = [(k, sign(d[:, k])) for k in range(len(x))]
    signs = [(k, s) for k, s in signs if s]
    for (k, s), (later, t) in zip(signs, signs[1:]):
        if s == t:
            continue
        places = [x[j] + part * (x[j + 1] - x[j]) for j in range(k, later) for part in np.linspace(0, 1, 4097)
                  if sign((1 - part) * d[:, j] + part * d[:, j + 1]) == 0]
        return f"; crosses 1 at {name} from {2 ** min(places):.1f} to {2 ** max(places):.1f}"
    return ("; whether it crosses 1 is open: of the intervals for all cells at once no two exclude 1 with opposite "
            "signs")


def check_maps(rows, page):
    """The sentences of the two maps: how many the page tells otherwise."""
    page = html.unescape(page)
    expected = []
    if own := rows.get("statistics-batch"):
        panels = [("CNN", "cnn", "batch"), ("MLP", "mlp", "batch"), ("transformer", "transformer", "batch"),
                  ("RNN", "rnn", "batch"), ("RNN, a BN a step", "rnn", "batch per step")]
        everything = lambda cell: True
        curves = [(title, log_ratios(own, part, norm, everything, "layer", everything)) for title, part, norm in panels]
        layers = [(title, log_ratios(own, part, "layer", everything, "none", everything)) for title, part, _ in panels[:4]]
        cells = sum(len(ratios) for _, ratios in curves + layers)
        confidence = 1 - 0.05 / cells
        expected += [f"{title}: BN's test loss over LN's (simultaneous 95 % for new seeds) {band_text(r, 'g', confidence)}"
                     f"{crossing_text(r, 'g', confidence)}." for title, r in curves if r]
        expected += [f"{title}: LN's test loss over that without a norm {band_text(r, '', confidence)[3:]} (simultaneous)."
                     for title, r in layers if r]
    if own := rows.get("batch-size"):
        titles = {"cnn": ("CNN", 400), "mlp": ("MLP", 400), "transformer": ("transformer", 400), "rnn": ("RNN", 800)}
        cells = len({(r["part"], r["cell"]) for r in own})
        for part, (title, updates) in titles.items():
            for budget in (1, 2):
                chosen = lambda cell: cell.endswith(f"updates x{budget}")
                r = log_ratios(own, part, "batch", chosen, "layer", chosen)
                expected.append(f"{title}, {updates * budget} updates: BN's test loss over LN's {band_text(r, 'B', 0.95)}"
                                f"{crossing_text(r, 'B', 1 - 0.05 / cells)}.")
    wrong = [text for text in expected if text not in page]
    for text in wrong:
        print(f"the page does not say: {text}")
    print(f"{len(expected)} sentences of maps recomputed, {len(wrong)} differences")
    return len(wrong)


def noted_lines(file):
    """The lines of a CSV as dictionaries, without the notes above its header."""
    return csv.DictReader(line for line in file if not line.startswith("#"))


def effect_of(claim, text):
    """The inverse of effect_of() in lab/study/verdicts.cc: "ratio 1.1", "2 points a doubling"."""
    if claim["measure"] == "log_ratio":
        return math.log(float(text.removeprefix("ratio ")))
    return float(text.split()[0]) / (100 if "points" in text else 1)


def check_pilot(path, claims, page):
    """The pilot's table in the page, cell by cell, and its sentence at the result: how many numbers differ."""
    by_name = {claim["endpoint"]: claim for claim in claims["endpoints"]}
    alpha, checked, wrong = ALPHA / claims["family"], 0, 0
    with open(path, newline="") as file:
        for line in noted_lines(file):
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
            expected = [str(needed) if needed else "none suffices",
                        f"{power(effect, v, int(told[7]), items, alpha):.2f}"]
            sentence = re.search(rf"<li><b>{re.escape(name)}</b>(?:(?!</li>).)*By the pilot, to see an effect of (.+?) with "
                                 r"probability 0.9 takes (\d+ seeds|more test items than there are)(?:(?!</li>).)*; the (\d+) seeds "
                                 r"of this run see it with probability (.+?), and with 0.9 one of (.+?) or more, or as far the other way", page)
            seen = power(effect_of(claim, sentence[5]), v, int(told[7]), items, alpha)
            takes = f"{needed} seeds" if needed else "more test items than there are"
            if list(sentence.groups()[:4]) != [told[5], takes, told[7], told[8]] or abs(seen - 0.9) > 0.02:
                print(f"{name}: the sentence of the pilot says {sentence.groups()}, its table {told}; power {seen:.3f}")
                wrong += 1
            checked += 1
            if [told[6], told[8]] != expected:
                print(f"{name}: needs {expected[0]} seeds, power {expected[1]}; the page says {told[6]}, {told[8]}")
                wrong += 1
    print(f"{checked} endpoints of the pilot recomputed, {wrong} differences")
    return wrong


def main(folder, pilot=STUDY / "pilot.csv", rates=STUDY / "rates.csv"):
    rows = read(folder)
    with open(rates, newline="") as file:
        rates = list(noted_lines(file))
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
        if at_edge(own, claim, rates) != claim["at_edge"]:
            print(f"{claim['endpoint']}: whether it rests on the last setting that was tried: {not claim['at_edge']}")
            wrong += 1
        brier = {key: {**claim[key], "quantity": "brier"} for key in ("a", "b")}
        for name, series in (("beside", {"baseline": "", **claim.get("beside", {})}), ("brier", brier)):
            if name not in claim:
                continue
            m, e, f = estimate(differences(own, {**claim, **series}))
            for what, value in (("estimate", m), ("low", m - stats.t.ppf(0.975, f) * e),
                                ("high", m + stats.t.ppf(0.975, f) * e)):
                differs(claim, f"its {name}'s {what}", value, claim[name][what])
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
        if claim["at_edge"] or claim["foreign_rates"]:
            verdict = "undecided"
        if verdict != claim["verdict"]:
            print(f"{claim['endpoint']}: {verdict}, claims.json says {claim['verdict']}")
            wrong += 1
    print(f"{len(claims['endpoints'])} endpoints, {len(tests)} tests recomputed, {wrong} differences")
    if (folder / "report.html").exists():
        page = (folder / "report.html").read_text()
        wrong += check_pilot(pilot, claims, page) + check_maps(rows, page)
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main(*map(pathlib.Path, sys.argv[1:])))
