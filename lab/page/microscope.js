"use strict";
// What the microscope shows is computed by normalize() alone. On "library" see microscope.cc.
//
// x: the values, sample by sample, with channels before positions ("channels last": after them)
// norm: "BN", "LN", "GN" or "IN"; training: whether BN takes the batch's statistics or `running`
// lengths: of sequences, how many positions are valid; dy: the gradient that reaches x^
//
// Returns set[i], which values share i's statistics, mean and var of each set (biased), and of each
// value x^ and the three terms of dx = rstd (dy - mean(dy) - x^ mean(dy x^)), weights being 1.
function normalize({x, dims, norm, channelsLast, groups, eps, training, running, lengths, dy}) {
  const {samples, channels, positions} = dims;
  const size = samples * channels * positions;
  const place = (i) => {
    const n = Math.floor(i / (channels * positions)), rest = i % (channels * positions);
    return channelsLast ? {n, c: rest % channels, p: Math.floor(rest / channels)}
                        : {n, c: Math.floor(rest / positions), p: rest % positions};
  };
  // GroupNorm and InstanceNorm know no padding: they count it.
  const knowsPadding = norm === "BN" || norm === "LN";
  const valid = ({n, p}) => !lengths || !knowsPadding || p < lengths[n];
  const setOf = ({n, c, p}) => {
    if (norm === "BN") return c;
    if (norm === "LN") return channelsLast ? n * positions + p : n;
    const parts = norm === "GN" ? groups : channels;
    return n * parts + Math.floor(c / (channels / parts));
  };
  const places = [], set = [], sets = [];
  for (let i = 0; i < size; ++i) {
    places.push(place(i));
    set.push(setOf(places[i]));
    sets[set[i]] = sets[set[i]] || {members: []};
    if (valid(places[i])) sets[set[i]].members.push(i);
  }
  const fixed = norm === "BN" && !training;
  const average = (members, f) => members.reduce((sum, i) => sum + f(i), 0) / members.length;
  sets.forEach((s, k) => {
    s.mean = fixed ? running.mean[k] : average(s.members, (i) => x[i]);
    s.var = fixed ? running.var[k] : average(s.members, (i) => (x[i] - s.mean) ** 2);
    s.rstd = 1 / Math.sqrt(s.var + eps);
  });
  const isValid = places.map(valid);
  const xhat = set.map((k, i) => isValid[i] ? (x[i] - sets[k].mean) * sets[k].rstd : 0);
  sets.forEach((s) => {
    s.meanDy = fixed ? 0 : average(s.members, (i) => dy[i]);
    s.meanDyXhat = fixed ? 0 : average(s.members, (i) => dy[i] * xhat[i]);
  });
  const terms = set.map((k, i) => isValid[i] ? {
    direct: sets[k].rstd * dy[i],
    mean: -sets[k].rstd * sets[k].meanDy,
    spread: -sets[k].rstd * xhat[i] * sets[k].meanDyXhat
  } : {direct: 0, mean: 0, spread: 0});
  const dx = terms.map((t) => t.direct + t.mean + t.spread);
  return {places, set, sets, valid: isValid, mean: sets.map((s) => s.mean), var: sets.map((s) => s.var),
          xhat, terms, dx};
}

const library = JSON.parse(document.getElementById("library").textContent);
const byId = (id) => document.getElementById(id);
const state = {view: library.views[0], norm: "BN", training: true, samples: 4, chosen: 0, x: [], moved: -1};

/// Why a norm cannot be taken of this, in the library's words; or nothing.
function refusal() {
  const found = library.results.find((r) => r.view === state.view.name && r.norm === state.norm &&
                                            r.training === state.training && r.samples === state.samples);
  return found && found.error;
}

function compute(x, {view, norm, training, samples} = state) {
  return normalize({
    x, norm, training, dims: {samples, channels: view.channels.length, positions: view.positions},
    channelsLast: view.channels_last, groups: view.groups, eps: view.eps, running: view.running,
    lengths: view.lengths, dy: view.dy
  });
}

const number = (v, digits = 4) => !Number.isFinite(v) ? "none: only padding" : (Math.abs(v) < 5e-7 ? 0 : v).toPrecision(digits).replace("-", "\u2212");
const short = (v) => (Math.abs(v) < 0.05 ? 0 : v).toFixed(1).replace("-", "\u2212");

/// "sample 1, centre, row 1, column 2"
function nameOf({n, c, p}) {
  const channel = state.view.channels[c];
  if (state.view.lengths) return `utterance ${n + 1}, step ${p + 1}, ${channel}`;
  return `digit ${n + 1}, ${channel}` +
         (state.view.positions > 1 ? `, row ${Math.floor(p / 2) + 1}, column ${p % 2 + 1}` : "");
}

/// A sample's grids: one a channel, or steps beside each other.
function build() {
  const {view, samples} = state, root = byId("cells");
  root.replaceChildren();
  root.className = view.name;
  state.cells = [];
  const {places} = compute(state.x);
  for (let n = 0; n < samples; ++n) {
    const sample = document.createElement("div");
    sample.className = "sample";
    sample.setAttribute("role", "group");
    const title = document.createElement("p");
    title.textContent = (view.lengths ? "utterance " : "digit ") + (n + 1) +
                        (view.lengths ? `, ${view.lengths[n]} steps` : "");
    sample.setAttribute("aria-label", title.textContent);
    sample.append(title);
    for (let c = 0; c < view.channels.length; ++c) {
      const channel = document.createElement("div");
      channel.className = "channel";
      const label = document.createElement("span");
      label.textContent = view.channels[c];
      const grid = document.createElement("div");
      grid.className = "grid";
      places.forEach((place, i) => {
        if (place.n !== n || place.c !== c) return;
        const cell = document.createElement("div");
        cell.className = "cell";
        cell.setAttribute("role", "spinbutton");
        cell.dataset.i = i;
        cell.append(document.createElement("b"), document.createElement("i"));
        state.cells[i] = cell;
        grid.append(cell);
      });
      channel.append(label, grid);
      sample.append(channel);
    }
    root.append(sample);
  }
}

function paintCells(now, before) {
  const chosen = now.places[state.chosen];
  const fixed = state.norm === "BN" && !state.training;  // then nothing is shared
  let touched = 0, others = 0;
  state.cells.forEach((cell, i) => {
    const place = now.places[i], padded = state.view.lengths && place.p >= state.view.lengths[place.n];
    const shares = !fixed && now.set[i] === now.set[state.chosen] && now.valid[i];
    const later = state.view.lengths && place.n === chosen.n && place.p > chosen.p && !padded;
    const moved = state.moved >= 0 && Math.abs(now.xhat[i] - before.xhat[i]) > 1e-9;
    if (moved) {
      ++touched;
      if (place.n !== now.places[state.moved].n) ++others;
    }
    const marks = {shares, chosen: i === state.chosen, padded, later, moved, hand: i === state.moved};
    for (const [mark, on] of Object.entries(marks)) cell.classList.toggle(mark, Boolean(on));
    cell.firstChild.textContent = short(state.x[i]);
    cell.lastChild.textContent = short(now.xhat[i]);
    cell.tabIndex = i === state.focus ? 0 : -1;
    cell.setAttribute("aria-valuenow", state.x[i].toFixed(3));
    const said = Object.entries({"chosen": marks.chosen, "shares its statistics": shares, "padding": padded,
                                 "future": later, "output moved": moved}).filter((e) => e[1]).map((e) => e[0]);
    cell.setAttribute("aria-valuetext", `${number(state.x[i])}, x hat ${number(now.xhat[i])}` +
                                        (said.length ? ", " + said.join(", ") : ""));
    cell.setAttribute("aria-label", nameOf(place));
  });
  return {touched, others};
}

function paintNumbers(now, {touched, others}) {
  const i = state.chosen, place = now.places[i], s = now.sets[now.set[i]], t = now.terms[i];
  const fixed = state.norm === "BN" && !state.training;
  const shared = fixed ? [] : s.members;
  const samples = new Set(shared.map((k) => now.places[k].n)).size;
  const later = state.view.lengths && now.valid[i]
      ? shared.filter((k) => now.places[k].n === place.n && now.places[k].p > place.p).length : 0;
  const rows = {
    "cell": nameOf(place), "x": number(state.x[i]), "mean": number(s.mean), "variance": number(s.var),
    "x\u0302 = (x \u2212 mean) rstd": number(now.xhat[i]), "dy (comes in)": number(state.view.dy[i]),
    "rstd \u00b7 dy": number(t.direct), "\u2212 rstd \u00b7 mean(dy)": number(t.mean),
    "\u2212 rstd \u00b7 x\u0302 \u00b7 mean(dy x\u0302)": number(t.spread), "dx, their sum": number(now.dx[i])
  };
  const list = byId("numbers");
  list.replaceChildren();
  for (const [name, value] of Object.entries(rows)) {
    const dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = name;
    dd.textContent = value;
    list.append(dt, dd);
  }
  byId("shares").textContent = fixed
      ? "Running statistics: constants. No value of this batch enters them, and two of the terms of dx are gone."
      : `${shared.length} values share this mean and variance, of ${samples} ` +
        `${samples === 1 ? "sample" : "samples"}` + (later ? `; ${later} of them lie in the future.` : ".") +
        (shared.length === 2 ? " Of two values x\u0302 is +1 and \u22121, whatever they are, if they differ." : "");
  byId("moved").textContent = state.moved < 0 ? "Drag a value, or press the up and down keys on it."
      : `${touched} ${touched === 1 ? "output has" : "outputs have"} moved, ${others} of them in other samples.`;
}

function paint() {
  const problem = refusal();
  byId("problem").textContent = problem ? `This norm cannot be taken of such values: ${problem}` : "";
  byId("microscope").classList.toggle("refused", Boolean(problem));
  byId("what").textContent = state.view.what + ".";
  byId("count").textContent = state.samples;
  if (problem) return;
  const now = compute(state.x), before = compute(state.view.x);
  paintNumbers(now, paintCells(now, before));
}

/// Begins anew from the real values.
function restart() {
  state.x = state.view.x.slice();
  state.moved = -1;
  const size = state.samples * state.view.channels.length * state.view.positions;
  if (state.chosen >= size) state.chosen = 0;
  state.focus = state.chosen;
  build();
  paint();
}

function change(i, by) {
  if (state.moved !== i) state.x = state.view.x.slice();  // one value at a time
  state.moved = i;
  state.x[i] += by;
  paint();
}

function focusOn(i) {
  if (!state.cells[i]) return;
  state.focus = i;
  paint();
  state.cells[i].focus();
}

function listen() {
  const choice = (name, f) => document.getElementsByName(name).forEach((input) =>
      input.addEventListener("change", () => { f(input.value); restart(); }));
  choice("view", (v) => { state.view = library.views.find((one) => one.name === v); state.chosen = 0; });
  choice("norm", (v) => { state.norm = v; });
  choice("mode", (v) => { state.training = v === "training"; });
  byId("samples").addEventListener("input", (e) => { state.samples = Number(e.target.value); restart(); });
  byId("reset").addEventListener("click", restart);
  const root = byId("cells");
  let drag = null;
  root.addEventListener("pointerdown", (e) => {
    const cell = e.target.closest(".cell");
    if (!cell) return;
    drag = {i: Number(cell.dataset.i), y: e.clientY, far: false};
    cell.setPointerCapture(e.pointerId);
    focusOn(drag.i);
    e.preventDefault();
  });
  root.addEventListener("pointermove", (e) => {
    if (!drag || (!drag.far && Math.abs(e.clientY - drag.y) < 4)) return;
    drag.far = true;
    change(drag.i, (drag.y - e.clientY) / 8 * state.view.step);
    drag.y = e.clientY;
  });
  const end = () => {
    if (drag && !drag.far) {
      state.chosen = drag.i;
      paint();
    }
    drag = null;
  };
  root.addEventListener("pointerup", end);
  root.addEventListener("pointercancel", () => { drag = null; });
  root.addEventListener("keydown", (e) => {
    const cell = e.target.closest(".cell");
    if (!cell) return;
    const i = Number(cell.dataset.i);
    const keys = {
      ArrowUp: () => change(i, state.view.step), ArrowDown: () => change(i, -state.view.step),
      ArrowLeft: () => focusOn(i - 1), ArrowRight: () => focusOn(i + 1),
      Home: () => focusOn(0), End: () => focusOn(state.cells.length - 1),
      Enter: () => { state.chosen = i; paint(); }, " ": () => { state.chosen = i; paint(); }
    };
    if (!keys[e.key]) return;
    keys[e.key]();
    e.preventDefault();
  });
}

listen();
restart();
