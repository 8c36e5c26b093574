// Both handles of the report. Every count comes from the tables in the page; a figure here is one look-up and one division.

"use strict";

(() => {
  const D = JSON.parse(document.getElementById("data").textContent);
  const G = D.grid, N = G.n, SVG = "http://www.w3.org/2000/svg";
  const $ = (id) => document.getElementById(id);
  const state = { i: D.start[0], j: D.start[1], requests: D.usage.requests, price: D.usage.price };

  // formats

  const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
  const count = (value) => whole.format(value);
  const share = (value) => (value === null ? "–" : `${(100 * value).toFixed(1)}\u00a0%`);
  const tick = (value) => `${+(100 * value).toFixed(1)}\u00a0%`;
  const threshold = (value) => String(+value.toPrecision(6));

  /** Money, with as many digits as its whole deserves. */
  function amount(value, of = value) {
    const digits = of >= 1000 ? 0 : of < 1 ? 4 : 2;
    return value.toLocaleString("en", { minimumFractionDigits: Math.min(digits, 2), maximumFractionDigits: digits });
  }

  function seconds(value) {
    if (value < 0.0095) return `${(1000 * value).toFixed(1)} ms`;
    return value < 1 ? `${Math.round(1000 * value)} ms` : `${value.toFixed(value < 10 ? 2 : 1)} s`;
  }

  // the tables

  /** What both thresholds at these places do: the counts, and the rates as the command's JSON has them. */
  function at(i, j) {
    const deferred = G.deferred[i], accepted = G.accepted[i][j], answered = N - deferred + accepted;
    const right = G.kept_right[i] + G.accepted_right[i][j], rightRejected = G.deferred_right[i] - G.accepted_right[i][j];
    const part = (one, all) => (all ? one / all : null);
    return {
      deferred, answered, right, byLocal: N - deferred, byRemote: accepted, rejected: deferred - accepted,
      fraction: deferred / N, acceptance: answered / N, accuracy: part(right, answered), error: part(answered - right, answered),
      falsePositives: part(rightRejected, rightRejected + right), turnedDown: part(deferred - accepted, deferred),
      every: (G.kept_right[i] + G.deferred_right[i]) / N,
    };
  }

  const I = G.first.length, J = G.second.length;
  const alone = { local: at(0, 0).every, remote: at(I - 1, 0).every };

  // drawing

  function shape(name, attributes, ...children) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  const line = (x1, y1, x2, y2, className = "") => shape("line", { x1, y1, x2, y2, class: className });
  const words = (x, y, said, anchor = "start", className = "") => shape("text", { x, y, "text-anchor": anchor, class: className }, said);
  const dot = (cx, cy, r, className) => shape("circle", { cx, cy, r, class: className });

  /** A line through points, which leaves out those without a value. */
  const path = (points, className) => shape("polyline", { class: className, points: points.filter(([, y]) => y !== null).map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ") });

  /** Dots where thresholds can stand, if they are so few that a line between them would promise more. */
  const places = (points) => (new Set(points.map(([x]) => x)).size > 30 ? [] : points.filter(([, y]) => y !== null).map(([x, y]) => dot(x, y, 3.2, "place")));

  /** Round steps between two values, about so many. */
  function steps(low, high, most) {
    const raw = (high - low) / most, unit = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((factor) => factor * unit).find((one) => one >= raw - 1e-12);
    const made = [];
    for (let at = Math.ceil(low / step - 1e-9); at * step <= high + 1e-9; at += 1) made.push(at * step);
    return made;
  }

  /** A plot with a handle. `place` says where a pointer stands, `step` where a key leads; both return nothing or a change. */
  class Plot {
    constructor(id, label, { move, step }) {
      this.box = $(id);
      this.layer = shape("g", {});
      this.stem = line(0, 0, 0, 0);
      this.halo = dot(0, 0, 17, "halo");
      this.knob = dot(0, 0, 10, "knob");
      this.grip = shape("path", { class: "grip" });
      this.other = dot(0, 0, 5, "other");
      this.handle = shape("g", { class: "handle", role: "slider", tabindex: 0, "aria-label": label, "aria-orientation": "horizontal", "aria-valuemin": 0, "aria-valuemax": 100 }, this.stem, this.other, this.halo, this.knob, this.grip);
      this.clip = shape("rect", {});
      this.svg = shape("svg", { role: "group", "aria-label": label }, shape("defs", {}, shape("clipPath", { id: `${id}-clip` }, this.clip)), this.layer, this.handle);
      this.none = document.createElement("p");
      this.none.className = "none";
      this.box.replaceChildren(this.svg, this.none);
      this.clipped = `url(#${id}-clip)`;
      this.svg.addEventListener("pointerdown", (event) => {
        if (event.button) return;
        this.svg.setPointerCapture(event.pointerId);
        this.handle.classList.add("dragged");
        this.handle.focus({ preventScroll: true });
        event.preventDefault();
        move(this.share(event));
      });
      this.svg.addEventListener("pointermove", (event) => {
        if (this.svg.hasPointerCapture(event.pointerId)) move(this.share(event));
      });
      for (const end of ["pointerup", "pointercancel"]) this.svg.addEventListener(end, () => this.handle.classList.remove("dragged"));
      const keys = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10, Home: -Infinity, End: Infinity };
      this.handle.addEventListener("keydown", (event) => {
        if (!(event.key in keys) || event.altKey || event.ctrlKey || event.metaKey) return;
        event.preventDefault();
        step(keys[event.key]);
      });
    }

    size(low, high, stretch) {
      this.w = Math.max(260, this.box.clientWidth);
      this.h = window.innerWidth < 700 ? 270 : 340;
      this.edge = { left: 46, right: this.w - 14, top: 14, bottom: this.h - 44 };
      this.svg.setAttribute("viewBox", `0 0 ${this.w} ${this.h}`);
      const { left, right, top, bottom } = this.edge;
      for (const [key, value] of Object.entries({ x: left, y: top - 3, width: right - left, height: bottom - top + 6 })) this.clip.setAttribute(key, value);
      this.x = (part) => left + (right - left) * stretch.to(part);
      this.y = (value) => (value === null ? null : bottom - ((bottom - top) * (value - low)) / (high - low));
      this.share = (event) => {
        const box = this.svg.getBoundingClientRect(), place = ((event.clientX - box.left) / box.width) * this.w;
        return stretch.from(Math.min(1, Math.max(0, (place - left) / (right - left))));
      };
    }

    frame(low, high, ticks, name) {
      const { left, right, bottom } = this.edge;
      const made = shape("g", { class: "grid" });
      for (const value of steps(low, high, 5)) made.append(line(left, this.y(value), right, this.y(value)), words(left - 8, this.y(value) + 4, tick(value), "end"));
      for (const value of ticks) made.append(line(this.x(value), bottom, this.x(value), bottom + 4), words(this.x(value), bottom + 18, tick(value), "middle"));
      made.append(words((left + right) / 2, bottom + 37, name, "middle", "axis"));
      return made;
    }

    put(x, y, other, percent, told) {
      const { top, bottom } = this.edge, inside = (value) => Math.min(bottom, Math.max(top, value));
      for (const [key, value] of Object.entries({ x1: x, x2: x, y1: top, y2: bottom })) this.stem.setAttribute(key, value);
      for (const one of [this.halo, this.knob]) one.setAttribute("cx", x), one.setAttribute("cy", inside(y ?? bottom));
      this.grip.setAttribute("d", `M${x - 2.5},${inside(y ?? bottom) - 3} l-3,3 l3,3 M${x + 2.5},${inside(y ?? bottom) - 3} l3,3 l-3,3`);
      this.other.setAttribute("cx", x);
      this.other.setAttribute("cy", inside(other ?? bottom));
      this.other.setAttribute("visibility", other === null ? "hidden" : "visible");
      this.handle.setAttribute("aria-valuenow", (100 * percent).toFixed(1));
      this.handle.setAttribute("aria-valuetext", told);
    }
  }

  // the first threshold

  const straight = { to: (part) => part, from: (part) => part };
  const lowest = Math.min(alone.local, alone.remote, ...G.deferred.map((_, i) => at(i, 0).every));
  const highest = Math.max(alone.local, alone.remote, ...G.deferred.map((_, i) => Math.max(at(i, 0).every, at(i, D.start[1]).accuracy ?? 0)));
  const bound = D.promises.find((one) => one.kind === "error");
  const pad = Math.max(0.01, 0.18 * (highest - lowest));
  const range = [Math.max(0, lowest - pad), Math.min(1, Math.max(highest, bound && 1 - bound.at_most < highest + 0.15 ? 1 - bound.at_most : 0) + pad)];

  const nearest = (values, wanted) => values.reduce((best, value, at) => (Math.abs(value - wanted) < Math.abs(values[best] - wanted) ? at : best), 0);

  /** The place that many steps further where something changes: equal counts look like a key that does nothing. */
  function along(values, from, by) {
    let place = from;
    for (let left = Math.abs(by); left > 0; left -= 1) {
      let next = place;
      do next += Math.sign(by);
      while (next > 0 && next < values.length - 1 && values[next] === values[place]);
      if (next < 0 || next >= values.length) break;
      place = next;
    }
    return place;
  }

  const first = new Plot("first", "First threshold: share of calls to the remote", {
    move: (part) => go(nearest(G.deferred, part * N), state.j),
    step: (by) => go(along(G.deferred, state.i, by), state.j),
  });

  function drawFirst() {
    const plot = first, { i, j } = state;
    plot.size(...range, straight);
    const made = [plot.frame(...range, [0, 0.2, 0.4, 0.6, 0.8, 1], "share of calls to the remote")];
    const xs = G.deferred.map((value) => plot.x(value / N)), { left, right } = plot.edge;
    const inner = shape("g", { "clip-path": plot.clipped });
    const edge = (values, along) => along.map((k) => `${xs[k].toFixed(1)},${plot.y(values[k]).toFixed(1)}`);
    const order = xs.map((_, k) => k);
    inner.append(shape("polygon", { class: "band", points: [...edge(G.high, order), ...edge(G.low, order.toReversed())].join(" ") }));
    for (const level of [alone.local, alone.remote]) inner.append(line(left, plot.y(level), right, plot.y(level), "level"));
    if (bound) inner.append(line(left, plot.y(1 - bound.at_most), right, plot.y(1 - bound.at_most), "bound"));
    inner.append(path([[left, plot.y(alone.local)], [right, plot.y(alone.remote)]], "chance"));
    const trusted = xs.map((x, k) => [x, plot.y(at(k, j).accuracy)]);
    inner.append(path(xs.map((x, k) => [x, plot.y(at(k, j).every)]), "every"), path(trusted, "trusted"), ...places(trusted));
    if ($("rungs")?.open) for (const [k, l] of D.rungs) inner.append(dot(xs[k], plot.y(at(k, l).accuracy) ?? -99, 3.2, "rung"));
    made.push(inner);
    made.push(words(right, plot.y(alone.local) - 6, `local model alone ${share(alone.local)}`, "end", "note"));
    const level = plot.y(alone.remote), wanted = bound ? plot.y(1 - bound.at_most) : -99;
    const below = (one, other) => (one > other && one - other < 22 ? one + 15 : one - 6); // away from the other line
    made.push(words(left + 4, below(level, wanted), `remote alone ${share(alone.remote)}`, "start", "note"));
    if (bound) made.push(words(right, below(wanted, level), `${bound.promised ? "promised" : "wanted"}: ${tick(1 - bound.at_most)} or more`, "end", "note bound-note"));
    const start = at(...D.start);
    if (!chosen()) made.push(dot(plot.x(start.fraction), plot.y(start.accuracy) ?? -99, 5, "pick"));
    plot.layer.replaceChildren(...made);
    const here = at(i, j);
    plot.put(xs[i], plot.y(here.accuracy), null, here.fraction, `${share(here.fraction)} of the calls, ${share(here.accuracy)} of the trusted answers right`);
  }

  // the second threshold

  const rooted = { to: Math.sqrt, from: (part) => part * part };
  const turnedDown = (i) => G.accepted[i].map((accepted) => (G.deferred[i] ? 1 - accepted / G.deferred[i] : 0));
  const second = new Plot("second", "Second threshold: share of the remote's answers that are rejected", {
    move: (part) => G.deferred[state.i] && go(state.i, nearest(turnedDown(state.i), part)),
    step: (by) => G.deferred[state.i] && go(state.i, along(G.accepted[state.i], state.j, by)),
  });
  const start = at(...D.start);
  const worst = Math.min(1, 1.25 * Math.max(0.02, at(D.start[0], 0).error ?? 0, 2 * (start.falsePositives ?? 0), ...D.promises.map((one) => 1.6 * one.at_most)));

  function drawSecond() {
    const plot = second, { i, j } = state, idle = !G.deferred[i];
    plot.size(0, worst, rooted);
    const made = [plot.frame(0, worst, window.innerWidth < 700 ? [0, 0.05, 0.25, 0.5, 1] : [0, 0.01, 0.05, 0.1, 0.25, 0.5, 1], "share of the remote answers rejected")];
    const xs = turnedDown(i).map(plot.x), { left, right } = plot.edge;
    const inner = shape("g", { "clip-path": plot.clipped });
    for (const one of D.promises) {
      inner.append(line(left, plot.y(one.at_most), right, plot.y(one.at_most), "bound"));
      made.push(words(right, plot.y(one.at_most) - 6, `${one.promised ? "promised" : "wanted"}: at most ${tick(one.at_most)} ${one.kind === "error" ? "wrong" : "rejected"}`, "end", "note bound-note"));
    }
    const wrong = xs.map((x, k) => [x, plot.y(at(i, k).error)]);
    if (!idle) inner.append(path(xs.map((x, k) => [x, plot.y(at(i, k).falsePositives)]), "lost"), path(wrong, "wrong"), ...places(wrong));
    made.unshift(inner);
    plot.layer.replaceChildren(...made);
    plot.none.textContent = idle ? "Nothing goes to the remote here, so there is nothing to reject." : "";
    const here = at(i, j);
    plot.handle.setAttribute("aria-disabled", idle);
    plot.put(xs[j], plot.y(here.error), idle ? null : plot.y(here.falsePositives), here.turnedDown ?? 0, `${share(here.turnedDown)} of the remote's answers rejected, ${share(here.error)} of the trusted answers wrong`);
  }

  // the figures

  const chosen = () => state.i === D.start[0] && state.j === D.start[1];

  function tell(id, value, said, below) {
    $(id).value = value === null ? "" : String(value);
    $(id).textContent = said;
    $(`${id}-of`).textContent = below;
  }

  function showFigures() {
    const here = at(state.i, state.j), { local_s: local, remote_s: remote } = D.usage;
    tell("share", here.fraction, share(here.fraction), `${count(here.deferred)} of ${count(N)}`);
    tell("accuracy", here.accuracy, share(here.accuracy), `${share(here.error)} wrong`);
    tell("rejected", here.rejected / N, share(here.rejected / N), `${share(here.falsePositives)} of the right answers`);
    if (local === null || remote === null) tell("latency", null, "–", "not recorded");
    else tell("latency", local + here.fraction * remote, seconds(local + here.fraction * remote), `remote for all: ${seconds(local + remote)}`);
    const full = state.requests * state.price, cost = full * here.fraction;
    if (full > 0) tell("cost", cost, amount(cost, full), `saves ${amount(full - cost, full)} of ${amount(full)}`);
    else tell("cost", null, "–", state.price > 0 ? "type in the requests" : "type in a price");
    const bars = $("shares").children;
    [here.byLocal, here.byRemote, here.rejected].forEach((part, k) => (bars[k].style.width = `${(100 * part) / N}%`));
    $("shares").setAttribute("aria-label", `${share(here.byLocal / N)} answered by the local model, ${share(here.byRemote / N)} by the remote, ${share(here.rejected / N)} rejected`);
    showHeadline(here);
    showStanding(here);
  }

  function bold(className, said) {
    const made = document.createElement("b");
    made.className = className;
    made.textContent = said;
    return made;
  }

  function showHeadline(here) {
    const small = document.createElement("small");
    small.textContent = `The remote alone is right in ${share(alone.remote)}, and every call is paid. The local model alone is right in ${share(alone.local)}, for nothing.`;
    $("headline").replaceChildren("With ", bold("calls", share(here.fraction)), " of the calls, ", bold("right", share(here.accuracy)), " of the trusted answers are right.", small);
  }

  function showStanding(here) {
    const promised = chosen() && D.certified;
    $("standing").className = `tag ${promised ? "good" : "warn"}`;
    $("standing").textContent = promised ? "chosen and certified" : chosen() ? "chosen, no promise" : "moved";
    const all = state.i === I - 1 ? "above every score" : threshold(G.first[state.i]);
    $("where").textContent = `First threshold ${all}, second ${threshold(G.second[state.j])}`;
    $("how").textContent = chosen() ? "The handles stand where the fit chose. Move them by mouse, finger or arrow keys." : `Measured here, not promised. To certify a second threshold for this share of calls: --remote-fraction ${+here.fraction.toFixed(3)}`;
    $("reset").disabled = chosen();
    for (const [k, row] of [...document.querySelectorAll("#rungs tbody tr")].entries()) row.classList.toggle("here", D.rungs[k][0] === state.i && D.rungs[k][1] === state.j);
  }

  function show() {
    drawFirst();
    drawSecond();
    showFigures();
  }

  function go(i, j) {
    if (i === state.i && j === state.j) return;
    Object.assign(state, { i, j });
    show();
  }

  // what is typed and pressed

  function typed(id, key, format, comma) {
    const field = $(id);
    field.value = format(state[key]);
    field.addEventListener("input", () => {
      const value = Number(field.value.replace(/[\s’']/g, "").replaceAll(",", comma));
      const fits = field.value.trim() !== "" && Number.isFinite(value) && value >= 0;
      field.setAttribute("aria-invalid", !fits);
      if (!fits) return;
      state[key] = value;
      showFigures();
    });
    field.addEventListener("change", () => {
      field.value = format(state[key]);
      field.setAttribute("aria-invalid", false);
    });
  }

  typed("requests", "requests", count, "");
  typed("price", "price", (value) => String(value), "."); // a comma in a price is a decimal one
  $("reset").addEventListener("click", () => go(...D.start));
  for (const button of document.querySelectorAll("#rungs button")) button.addEventListener("click", () => go(...D.rungs[button.value]));

  async function copy() {
    const said = $("toml").textContent;
    try {
      await navigator.clipboard.writeText(said);
    } catch { // a page from a disk may not reach the clipboard: select it, and ask the old way
      getSelection().selectAllChildren($("toml"));
      if (!document.execCommand("copy")) return "selected: copy it with your keyboard";
    }
    return "copied";
  }

  $("copy")?.addEventListener("click", async () => ($("copied").textContent = await copy()));

  $("rungs")?.addEventListener("toggle", drawFirst);
  new ResizeObserver(() => (drawFirst(), drawSecond())).observe($("bench"));
  show();
})();
