// Asks the example once a second how far it is, and shows it. All words are shown as text, never as markup.

const EVERY_MS = 1000, PATIENCE_MS = 3000;
const SVG = "http://www.w3.org/2000/svg";
// the drawing of one system: the error above, the rung below
const BOX = [380, 262], LEFT = 40, RIGHT = 374, TOP = 32, BOTTOM = 178, RUNGS = [196, 240];
const $ = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const count = (value) => whole.format(value);
const percent = (value, digits = 1) => (typeof value === "number" ? `${(100 * value).toFixed(digits)} %` : "–");

function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

function drawn(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function text(id, value) {
  if ($(id).textContent !== value) $(id).textContent = value;
}

function state(name, words) {
  document.body.dataset.state = name;
  text("state-text", words);
}

// the three systems

const cards = new Map();

function show(told) {
  const highest = scale(told);
  for (const system of told.systems) {
    if (!cards.has(system.name)) cards.set(system.name, card(system));
    cards.get(system.name)(told, system, highest);
  }
  text("facts", `${count(told.ended)} of ${count(told.requests)} requests, alike for all three · ${whole.format(told.seconds)} s`);
  text("promised", `promised: at most ${percent(told.promise, 0)}`);
  text("legend", `Lines: mean of the last ${count(told.window)} requests. Dashed: the promise. Shaded: the inputs are worse than what the thresholds were made for. Triangle: alarm. Dot: other thresholds.`);
  showPhases(told);
  showNoticed(told);
  if (told.finished) state("ready", "finished");
  else state("ready", `running: ${phaseOf(told)}`);
}

const phaseOf = (told) => (told.phases.findLast((phase) => phase.begin <= told.ended) ?? told.phases[0]).name;

/** One scale for all three, so that heights may be compared: in steps of 5 %. */
function scale(told) {
  const most = Math.max(2 * told.promise, ...told.systems.flatMap((system) => system.error));
  return Math.min(1, Math.ceil((most + 0.005) / 0.05) * 0.05);
}

/** A card, made once: what is focused in it stays so. Returns what updates it. */
function card(system) {
  const now = element("b"), how = element("span"), drawing = element("div"), link = element("a", "", "the worker's page");
  const values = ROWS.map(() => element("dd", "", "–"));
  link.href = system.page;
  const made = element("section", `card system ${system.name}`, element("h2", "", system.name), element("p", "does", system.says),
    element("p", "now", now, how), drawing,
    element("dl", "plain", ...ROWS.map(([name], at) => element("div", "", element("dt", "", name), values[at]))), element("p", "hint", link));
  made.setAttribute("aria-label", system.name);
  $("systems").append(made);
  return (told, one, highest) => {
    const over = one.error_now > told.promise;
    now.textContent = percent(one.error_now);
    now.className = over ? "over" : "";
    how.textContent = over ? "wrong of late, above the promise" : "wrong of late";
    drawing.replaceChildren(chart(one, told, highest));
    ROWS.forEach(([, value], at) => { values[at].textContent = value(one, told); });
  };
}

const ROWS = [
  ["Rung in force", (system, told) => (system.rung_now ? `${system.rung_now} of ${told.rungs}` : "–")],
  ["Time above the promise, this phase", (system) => percent(system.phases.at(-1)?.above, 0)],
  ["Asks the remote, this phase", (system) => percent(system.phases.at(-1)?.calls, 0)],
  ["Rejects, this phase", (system) => percent(system.phases.at(-1)?.rejected, 0)],
  ["Noticed the drift after", (system) => (system.noticed_after === null ? "–" : `${count(system.noticed_after)} requests`)],
  ["Labels by people", (system) => count(system.labels)],
  ["Cost so far, shadows among it", (system) => system.cost.toFixed(2)],
];

function chart(system, told, highest) {
  const x = (request) => LEFT + ((RIGHT - LEFT) * request) / told.requests;
  const y = (error) => BOTTOM - ((BOTTOM - TOP) * Math.min(error, highest)) / highest;
  const svg = drawn("svg", { viewBox: `0 0 ${BOX[0]} ${BOX[1]}`, role: "img", "aria-label": spoken(system, told) });
  svg.append(...ground(told, x), ...scales(told, highest, y));
  const points = system.error.map((error, at) => `${x((at + 1) * told.step).toFixed(1)},${y(error).toFixed(1)}`);
  if (points.length) svg.append(drawn("path", { class: "line", d: `M${points.join("L")}` }));
  svg.append(...rungs(system, told, x));
  for (const notice of system.notices) if (notice.kind === "alarm") svg.append(alarm(notice, system, told, x, y));
  return svg;
}

function spoken(system, told) {
  const phases = system.phases.map((phase) => `${phase.phase}: ${percent(phase.error)}`).join(", ");
  return `Wrong among the trusted, ${system.name}. Promised: at most ${percent(told.promise, 0)}. ${phases || "No request has ended yet."}`;
}

/** The phases: those of the drift shaded, each with its name, in two lines where it has two words or more. */
function ground(told, x) {
  return told.phases.flatMap((phase, number) => {
    const [from, to] = [x(phase.begin), x(phase.end)], between = number > 0 && number < told.phases.length - 1;
    const words = phase.name.split(" "), last = words.pop();
    const name = drawn("text", { class: "middle", x: (from + to) / 2, y: 11 },
      ...[words.join(" "), last].filter(Boolean).map((line, at) => drawn("tspan", { x: (from + to) / 2, dy: at ? 13 : 0 }, line)));
    const shade = drawn("rect", { class: number > 1 ? "drift much" : "drift", x: from, y: TOP, width: to - from, height: RUNGS[1] + 6 - TOP });
    return between ? [shade, name] : [name];
  });
}

function scales(told, highest, y) {
  const step = highest > 0.25 ? 0.1 : 0.05, made = [];
  for (let error = 0; error <= highest + 1e-9; error += step) {
    made.push(drawn("line", { class: "axis", x1: LEFT, x2: RIGHT, y1: y(error), y2: y(error) }),
      drawn("text", { class: "right", x: LEFT - 5, y: y(error) + 4 }, `${(100 * error).toFixed(0)} %`));
  }
  made.push(drawn("line", { class: "promise", x1: LEFT, x2: RIGHT, y1: y(told.promise), y2: y(told.promise) }));
  for (const [request, side] of [[0, ""], [told.requests, "right"]]) {
    made.push(drawn("text", { class: side, x: request ? RIGHT : LEFT, y: BOX[1] - 3 }, request ? `${count(request)} requests` : "0"));
  }
  return made;
}

/** Which rung judges: the laxest below, the strictest above. */
function rungs(system, told, x) {
  const y = (rung) => RUNGS[1] - ((RUNGS[1] - RUNGS[0]) * (rung - 1)) / Math.max(1, told.rungs - 1);
  const made = [drawn("text", { class: "right", x: LEFT - 5, y: RUNGS[0] + 6 }, "strict"), drawn("text", { class: "right", x: LEFT - 5, y: RUNGS[1] + 3 }, "lax")];
  let path = "", before = null;
  system.rung.forEach((rung, at) => {
    if (!rung) return;
    const [from, to] = [x(at * told.step).toFixed(1), x((at + 1) * told.step).toFixed(1)];
    if (rung !== before) path += path ? `L${from},${y(rung).toFixed(1)}` : `M${from},${y(rung).toFixed(1)}`;
    path += `L${to},${y(rung).toFixed(1)}`;
    before = rung;
  });
  if (path) made.push(drawn("path", { class: "line", d: path }));
  for (const notice of system.notices) {
    if (notice.kind === "alarm") continue;
    const rung = system.rung[Math.min(system.rung.length - 1, Math.ceil(notice.at / told.step) + 1)];
    if (rung) made.push(drawn("circle", { class: "change", cx: x(notice.at), cy: y(rung), r: 4.5 }, drawn("title", {}, notice.text)));
  }
  return made;
}

function alarm(notice, system, told, x, y) {
  const error = system.error[Math.min(system.error.length - 1, Math.floor(notice.at / told.step))] ?? 0;
  const [at, top] = [x(notice.at), Math.max(TOP + 11, y(error) - 3)];
  return drawn("path", { class: "alarm", d: `M${at - 6},${top - 10}L${at + 6},${top - 10}L${at},${top}Z` }, drawn("title", {}, notice.text));
}

// what is below them

function showPhases(told) {
  const head = ["phase", ...told.systems.map((system) => system.name)].map((name, at) => {
    const made = element("th", at ? "n" : "", name);
    made.scope = "col";
    return made;
  });
  $("phases-head").replaceChildren(...head);
  $("phases-rows").replaceChildren(...told.phases.map(({ name }) => {
    const first = element("th", "", name);
    first.scope = "row";
    return element("tr", "", first, ...told.systems.map((system) => {
      const error = system.phases.find((phase) => phase.phase === name)?.error;
      return element("td", error > told.promise ? "n over" : "n", percent(error));
    }));
  }));
}

function showNoticed(told) {
  const every = told.systems.flatMap((system) => said(system.notices).map((notice) => ({ ...notice, name: system.name })));
  if (!every.length) return;
  every.sort((one, other) => other.at - one.at);
  $("noticed").replaceChildren(...every.map((notice) => element("li", "", element("span", "at", `request ${count(notice.at)} · `), element("b", "", notice.name), `: ${notice.text}`)));
}

/** Alarms that follow each other are one line. */
function said(notices) {
  return notices.filter((notice, at) => notice.kind !== "alarm" || notices[at - 1]?.kind !== "alarm")
    .map((notice) => (notice.kind === "alarm" ? { ...notice, text: repeated(notice, notices) } : notice));
}

function repeated(first, notices) {
  const rest = notices.slice(notices.indexOf(first)), end = rest.findIndex((notice) => notice.kind !== "alarm");
  const times = end < 0 ? rest.length : end;
  return times > 1 ? `${first.text} (${times} times)` : first.text;
}

// the round

let finished = false;

async function ask() {
  try {
    const answer = await fetch("/api/drift", { signal: AbortSignal.timeout(PATIENCE_MS) });
    if (!answer.ok) throw new Error(`${answer.status}`);
    const told = await answer.json();
    finished = told.finished;
    show(told);
  } catch {
    if (finished) state("ready", "finished; the example has ended");
    else state("gone", "the example does not answer");
  }
  if (!finished) setTimeout(ask, EVERY_MS);
}

ask();
