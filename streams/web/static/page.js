// Asks the worker for its status once a second and shows it. What comes from records is shown as text, never as markup.

import { showAudit } from "/audit.js";
import { EDGES, drawChart, drawFlow } from "/draw.js";

const EVERY_MS = 1000, PATIENCE_MS = 3000;
const $ = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

const count = (value) => (value === null || value === undefined ? "–" : whole.format(value));
const share = (part, all) => (all ? `${((100 * part) / all).toFixed(1)} %` : "–");
const score = (value) => (typeof value === "number" ? value.toFixed(3) : "no score");

/** A count where there is little room: from ten million on with a letter, as in 12.3M. */
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const brief = (value) => (typeof value === "number" && value >= 1e7 ? short.format(value) : count(value));

function rate(value) {
  if (value >= 999_950) return short.format(value);
  if (value >= 9999.5) return `${(value / 1000).toFixed(1)}k`;
  return value >= 99.5 || value === 0 ? whole.format(value) : value.toFixed(1);
}

function amount(value) {
  if (value === null || value === undefined) return "–";
  return value.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: value !== 0 && Math.abs(value) < 1 ? 4 : 2 });
}

function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 60) return `${value.toFixed(value < 10 ? 1 : 0)} s`;
  if (value < 3600) return value < 600 ? `${Math.floor(value / 60)} min ${Math.floor(value % 60)} s` : `${Math.floor(value / 60)} min`;
  if (value < 86400) return `${Math.floor(value / 3600)} h ${Math.floor((value % 3600) / 60)} min`;
  return `${Math.floor(value / 86400)} d ${Math.floor((value % 86400) / 3600)} h`;
}

/** The same for a narrow column, as in "9m 59s". */
function compact(value) {
  return value === null || value === undefined || value < 60 ? seconds(value) : seconds(value).replace(/ (min|h|d)/g, (_, unit) => unit[0]).replace(/ s$/, "s");
}

function ago(value) {
  if (value < 60) return value < 1 ? "just now" : `${Math.floor(value)} s ago`;
  return `${seconds(value)} ago`;
}

/** Characters that would act instead of being shown: control characters, and those that change the direction of text. */
const ACTING = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
const seen = (text) => String(text).replace(ACTING, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);

function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** Text from a record, isolated so that its direction does not affect the text around it. */
function foreign(text) {
  const made = element("bdi");
  made.textContent = seen(text);
  return made;
}

const text = (id, value) => {
  if ($(id).textContent !== value) $(id).textContent = value;
};

/** A large figure, in smaller type where it has many digits. */
function figure(id, value) {
  text(id, value);
  $(id).classList.toggle("long", value.length > 11);
}

function cells(row, ...values) {
  return element("tr", "", row, ...values.map((value) => element("td", "n", value)));
}

function heading(...children) {
  const made = element("th", "", ...children);
  made.scope = "row";
  return made;
}

// what is shown

const showFlow = drawFlow($("flow"), rate);
const showChart = drawChart($("chart"), rate);

function show(status) {
  const { worker, counts, money, crew } = status;
  text("worker", `${seen(worker.name)}${crew ? ` · process ${crew.process}` : ""}`);
  text("facts", `${worker.agents.map((name) => name.replace("_", " ")).join(", ")} · version ${worker.version} · up ${seconds(worker.uptime_s)}`);
  showReady(status);
  showFigures(status);
  showThresholds(status.thresholds);
  showAudit(status.audit, { text, foreign, ago: (ms) => ago(Math.max(0, (status.now_ms - ms) / 1000)), count });
  showFlow(status.rates, nodeTexts(status), worker.agents);
  showFlowTable(status);
  showChart(status.chart);
  showLatency(status.latency);
  showRemote(status.remote, money, status.shadows, status.batches);
  showPartitions(status.partitions);
  showFallbacks(status, counts);
}

const STATES = { ready: "", unready: "not ready", silent: "no answer" };

/** Where one command runs several processes: a link to the figures of each, with what is wrong with it. */
function showCrew(crew) {
  const place = $("processes"), told = JSON.stringify(crew);
  place.hidden = !crew;
  if (place.hidden || place.dataset.told === told) return;
  place.dataset.told = told;
  const numbers = Object.keys(crew.states);
  while (place.children.length < numbers.length) place.append(element("a", ""));
  numbers.forEach((number, at) => {
    const link = place.children[at], state = crew.states[number];
    link.href = `/?process=${number}`;
    link.dataset.state = state;
    link.textContent = `Process ${number}${STATES[state] ? `: ${STATES[state]}` : ""}`;
    link.setAttribute("aria-current", Number(number) === crew.process ? "page" : "false");
  });
}

function showReady({ ready, reasons }) {
  state(ready ? "ready" : "unready", ready ? "ready" : "not ready");
  $("reasons").hidden = ready;
  const told = reasons.map(seen).join("\n");
  if ($("reasons").dataset.told !== told) {
    $("reasons").dataset.told = told;
    $("reasons").replaceChildren(...reasons.map((reason) => element("li", "", foreign(reason))));
  }
}

function showFigures({ counts, money, rates, worker }) {
  const { local, remote } = counts.answered_by;
  const ended = local + remote + counts.fallback;
  const trustedRemote = remote, untrusted = counts.untrusted, trustedLocal = local - untrusted;
  const rateOf = (...edges) => edges.reduce((sum, id) => sum + (rates[id] ?? 0), 0);
  figure("ended", count(ended));
  text("ended-rate", `${rate(rateOf("local_results", "local_fallback", "remote_results", "remote_fallback", "remote_supervisor_results", "remote_supervisor_fallback"))} a second`);
  text("share-local", share(trustedLocal, ended));
  text("n-local", `${count(trustedLocal)}${untrusted ? `, and ${count(untrusted)} untrusted` : ""}`);
  text("share-remote", share(trustedRemote, ended));
  text("n-remote", count(trustedRemote));
  text("share-fallback", share(counts.fallback, ended));
  text("n-fallback", count(counts.fallback));
  const priced = money.remote_only > 0;
  figure("saved", priced ? share(money.saved, money.remote_only) : money.calls_avoided === null ? "–" : count(money.calls_avoided));
  text("saved-of", priced ? `${amount(money.saved)} of ${amount(money.remote_only)}` : money.calls_avoided === null ? "not seen by this worker" : "calls; no price is set");
  const parts = { local: trustedLocal, remote: trustedRemote, untrusted, fallback: counts.fallback };
  for (const [name, part] of Object.entries(parts)) $("shares").querySelector(`.${name}`).style.width = `${ended ? (100 * part) / ended : 0}%`;
  $("shares").setAttribute("aria-label", `Of ${count(ended)} outcomes: ${share(trustedLocal, ended)} trusted from the local model, ${share(trustedRemote, ended)} trusted from the remote model, ${share(counts.fallback, ended)} fallback.`);
}

/** Which version judges, whether it is pinned, and what is wrong with it. */
function showThresholds(told) {
  const place = $("thresholds"), document = JSON.stringify(told);
  place.hidden = !told?.version;
  if (place.hidden || place.dataset.told === document) return;
  place.dataset.told = document;
  const parts = ["Thresholds ", foreign(told.version)];
  if (told.rungs) parts.push(` · rung ${told.rung} of ${told.rungs}, from lax to strict`);
  if (told.by) parts.push(` · ${told.reason} by `, foreign(told.by), ...(told.why ? [": ", foreign(told.why)] : []));
  const tags = [];
  if (told.pinned) tags.push(["warn", told.pinned === "settings" ? "pinned in the settings" : "pinned"]);
  if (told.lost) tags.push(["bad", `topic lost, the last version judges: ${told.lost}`]);
  if (told.refused) tags.push(["bad", told.refused]);
  for (const [tone, said] of tags) parts.push(" ", element("span", `tag ${tone}`, foreign(said)));
  place.replaceChildren(...parts);
}

function nodeTexts({ counts, remote, partitions }) {
  const { local, remote: answered } = counts.answered_by;
  const lag = (agent) => {
    const lags = partitions.filter((one) => one.agent === agent && one.lag !== null).map((one) => one.lag);
    return lags.length ? `${brief(lags.reduce((sum, value) => sum + value, 0))} waiting` : "";
  };
  return {
    requests: lag("local"),
    local: counts.requests === null ? "not in this worker" : `${brief(counts.requests)} decided`,
    remote: remote ? `${brief(remote.in_flight)} in flight` : "not in this worker",
    remote_supervisor: counts.edges.remote_supervisor_results === undefined && counts.edges.remote_supervisor_fallback === undefined ? "" : `${brief((counts.edges.remote_supervisor_results ?? 0) + (counts.edges.remote_supervisor_fallback ?? 0))} judged`,
    results: brief(local + answered),
    fallback: brief(counts.fallback),
  };
}

function showFlowTable({ rates, counts }) {
  const total = (id) => (id === "requests" ? counts.requests : counts.edges[id]);
  $("flow-rows").replaceChildren(...EDGES.map(([id, from, to]) => element("tr", "", heading(from), element("td", "", to),
    element("td", "n", rates[id] === undefined ? "–" : rate(rates[id])), element("td", "n", count(total(id) ?? null)))));
}

const ENDED_BY = { local: "local model", remote: "remote model", fallback: "fallback" };

function showLatency(latency) {
  $("latency").replaceChildren(...Object.entries(ENDED_BY).map(([kind, name]) => {
    const { p50 = null, p95 = null, p99 = null, count: n = null } = latency[kind] ?? {};
    return cells(heading(element("span", `who ${kind}`, name)), compact(p50), compact(p95), compact(p99), brief(n));
  }));
}

const BREAKER = { closed: ["up", "good"], open: ["down: breaker open", "bad"], probing: ["probing", "warn"], stopped: ["refuses all calls", "bad"] };

/** A remote that is up, and refused something that still waits, is in doubt. */
function breakerTag(remote) {
  const state = remote?.breaker?.state;
  return state === "closed" && remote.held ? ["in doubt", "warn"] : BREAKER[state] ?? ["–", ""];
}

/** What waits, why, and when somebody looks whether the remote is well. */
function doubtMeters({ held, said, next_probe_s: next }) {
  const meters = [];
  if (held) meters.push(["Refused, waiting for a verdict", null, null, count(held)]);
  if (next !== null) meters.push(["Next probe", null, null, next ? `in ${compact(next)}` : "with the next record"]);
  if (said) meters.push(["The remote's last words", null, null, seen(said)]);
  return meters;
}

/** Calls about trusted inputs, for the audit: they cost money of their own, and nobody waits for them. */
function shadowMeters(shadows) {
  if (!shadows) return [];
  const missing = Object.values(shadows.missing).reduce((sum, value) => sum + value, 0);
  const meters = [["Audit: trusted answers compared", null, null, `${count(shadows.answered)}, ${count(missing)} missing`]];
  if (shadows.waiting) meters.push(["Audit: waiting for a quiet moment", null, null, count(shadows.waiting)]);
  if (shadows.spent) meters.push(["Audit: spent", null, null, amount(shadows.spent)]);
  for (const meter of budgetMeters(shadows.budget)) meters.push([`Audit: ${meter[0].toLowerCase()}`, ...meter.slice(1)]);
  return meters;
}

/** Inputs that wait hours for half the price: how many, for how long by now, and what that has saved. */
function batchMeters(batches) {
  if (!batches) return [];
  const { batches: open, records, oldest_s: oldest, late, cost, saved, answered, fallen, again, failure, stopped } = batches;
  const meters = [["Batches under way", null, null, `${count(open.length)}, with ${count(records)} inputs`]];
  if (open.length) meters.push(["Batches: the oldest one", null, null, compact(oldest)]);
  if (late) meters.push(["Batches: late", null, null, count(late)]);
  if (answered || fallen || again) {
    meters.push(["Batches: inputs answered", null, null, `${count(answered)}, ${count(fallen)} fell back, ${count(again)} asked again`]);
    meters.push(["Batches: cost and saved", null, null, `${amount(cost)}, ${amount(saved)} less than direct calls`]);
  }
  const waiting = open.find((batch) => batch.why);
  const why = failure || stopped || waiting?.why;
  if (why) meters.push(["Batches: what holds them up", null, null, seen(why)]);
  return meters;
}

function showRemote(remote, money, shadows, batches) {
  $("remote").hidden = !remote;
  $("no-remote").hidden = Boolean(remote);
  const [word, tone] = breakerTag(remote);
  text("breaker", word);
  $("breaker").className = `tag ${tone}`;
  if (!remote) return;
  text("asked", count(money.asked));
  text("calls", count(money.calls));
  text("avoided", count(money.calls_avoided));
  text("spent", amount(money.spent));
  text("remote-only", amount(money.remote_only));
  const { limits } = remote;
  const meters = [["Calls in flight", remote.in_flight, limits.in_flight, `${count(remote.in_flight)} of ${count(limits.in_flight)}`]];
  if (remote.waiting) meters.push(["Waiting for their turn", null, null, count(remote.waiting)]);
  for (const name of ["requests", "tokens"]) {
    const most = limits[`${name}_per_minute`], pace = limits[`${name}_pace`];
    if (most) meters.push([`Pace of ${name}, this worker`, pace, most, `${count(pace)} of the fleet's ${count(most)} a minute`]);
  }
  meters.push(["Share of the fleet's limits", limits.share, 1, share(limits.share, 1)], ...budgetMeters(remote.budget));
  meters.push(...doubtMeters(remote), ...batchMeters(batches), ...shadowMeters(shadows));
  if (remote.breaker.opened) meters.push(["Breaker opened", null, null, `${count(remote.breaker.opened)} times`]);
  showMeters(meters);
}

/** How much of the period's budget the fleet has reserved, and what this worker's calls have cost. A budget of 0 is no limit. */
function budgetMeters(budget) {
  const meters = [];
  for (const [unit, show] of [["money", amount], ["calls", count]]) {
    const told = budget?.[unit];
    if (!told?.budget) continue;
    const used = `${show(told.leased)} of ${show(told.budget)}, ${show(told.charged)} by this worker`;
    meters.push([`Budget of ${unit}`, told.leased, told.budget, used]);
  }
  if (budget?.spent) meters.push(["Budget", null, null, "spent; [budget] when_spent says what happens now"]);
  return meters;
}

function showMeters(meters) {
  const place = $("meters");
  while (place.children.length > meters.length) place.lastChild.remove();
  while (place.children.length < meters.length) {
    place.append(element("div", "", element("div", "meter-head", element("span"), element("span")), element("div", "bar", element("i"))));
  }
  meters.forEach(([name, value, most, told], at) => {
    const [head, bar] = place.children[at].children;
    head.firstChild.textContent = name;
    head.lastChild.textContent = told;
    bar.hidden = value === null;
    if (value === null) return;
    const part = most ? Math.min(1, value / most) : 0;
    bar.firstChild.style.width = `${100 * part}%`;
    bar.classList.toggle("full", part > 0.95 && name.startsWith("Budget"));
    for (const [key, at] of Object.entries({ role: "meter", "aria-label": name, "aria-valuemin": 0, "aria-valuemax": most, "aria-valuenow": value, "aria-valuetext": told })) bar.setAttribute(key, at);
  });
}

const TONES = { running: "good", paused: "", acquiring: "", stopped: "bad" };
const MEANS = { paused: "What was fetched is worked on first: the rest waits in Kafka", acquiring: "Being taken over from its former owner" };

function showPartitions(partitions) {
  const sum = (key) => partitions.reduce((total, one) => total + (one[key] ?? 0), 0);
  text("partitions-sum", `${count(partitions.length)} assigned, ${count(sum("lag"))} records waiting`);
  $("partitions").replaceChildren(...partitions.map((one) => {
    const tag = element("span", `tag ${TONES[one.state]}`, one.state);
    const near = one.near_s === null ? null : element("span", "tag bad", `deleted in ${seconds(one.near_s)}`);
    if (near) near.title = "The retention of the topic may delete the oldest waiting record then: raise retention.ms, end what the records wait for, or let them fall back";
    tag.title = one.stopped ? seen(one.stopped) : one.held_back ? `${count(one.held_back)} records wait behind a transaction that somebody has open` : MEANS[one.state] ?? "";
    return element("tr", "", heading(foreign(`${one.topic}-${one.partition}`)), element("td", "optional", one.agent.replace("_", " ")),
      element("td", "", ...(near ? [tag, " ", near] : [tag])), ...[count(one.lag), count(one.unfinished), compact(one.age_s)].map((value) => element("td", "n", value)));
  }));
}

function showFallbacks({ fallbacks, now_ms: now }, counts) {
  text("fallbacks-sum", counts.fallback > fallbacks.length ? `newest ${fallbacks.length} of ${count(counts.fallback)}` : "");
  $("no-fallbacks").hidden = fallbacks.length > 0;
  const reasons = Object.entries(counts.reasons).map(([reason, n]) => `${reason} ${count(n)}`);
  if ($("reason-counts").dataset.told !== reasons.join()) {
    $("reason-counts").dataset.told = reasons.join();
    $("reason-counts").replaceChildren(...reasons.map((told) => element("li", "tag", told)));
  }
  const place = $("fallbacks"), told = fallbacks.map((one) => `${one.source} ${one.at_ms}`).join();
  if (place.dataset.told !== told) {
    place.dataset.told = told;
    const kept = new Map([...place.children].map((item) => [item.dataset.key, item]));
    place.replaceChildren(...fallbacks.map((one) => kept.get(`${one.source} ${one.at_ms}`) ?? fallback(one)));
  }
  [...place.children].forEach((item, at) => {
    item.querySelector(".ago").textContent = ago((now - fallbacks[at].at_ms) / 1000);
  });
}

function fallback(one) {
  const body = element("div", "body",
    element("p", "line", element("span", "tag warn", seen(one.reason ?? "no reason")), element("time", "ago")));
  for (const [name, verdict] of [["local", one.local], ["remote", one.remote]]) {
    if (verdict) body.append(element("p", "said", `${name} said `, element("b", "", foreign(verdict.prediction ?? "nothing")), ` (${score(verdict.score)})`));
  }
  if (one.detail) body.append(element("p", "detail", foreign(one.detail)));
  body.append(element("p", "where", foreign(one.source), ...(one.id === null ? [] : [" · id ", foreign(one.id)])));
  const item = element("li", "");
  item.dataset.key = `${one.source} ${one.at_ms}`;
  if (one.picture) {
    const image = element("img");
    image.src = one.picture;
    image.alt = "The input, as a picture";
    item.append(image);
  } else if (one.bytes) {
    const input = element("code");
    input.append(foreign(one.input));
    body.append(input);
  }
  item.append(body);
  return item;
}

// asking

let lastMs = null;
const asked = new URLSearchParams(location.search).get("process");
const PATH = asked ? `/api/status?process=${encodeURIComponent(asked)}` : "/api/status";
$("as-json").href = PATH;

function state(name, told) {
  document.body.dataset.state = name;
  text("state-text", told);
  document.title = `${name === "ready" ? "" : `${told} · `}BiSupervised`;
}

function gone(why, word = "worker gone") {
  state("gone", word);
  // the alert is spoken once; the seconds beside it are not
  const from = lastMs === null ? "Nothing has been seen of it yet." : `What you see is from ${new Date(lastMs).toLocaleTimeString("en-GB")}.`;
  text("gone-why", `${why}. ${from}`);
  text("gone-since", lastMs === null ? "" : `That was ${ago((Date.now() - lastMs) / 1000)}.`);
  $("gone").hidden = false;
}

async function ask() {
  let status;
  try {
    const answer = await fetch(PATH, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    if (!answer.ok && answer.status !== 503) return gone(`The worker has answered with status ${answer.status}`);
    status = await answer.json();
  } catch {
    return gone("The worker has not answered");
  }
  showCrew(status.crew);
  if (!status.worker) return gone(`Process ${status.crew.process} does not answer`, "no answer");
  lastMs = Date.now();
  $("gone").hidden = true;
  text("gone-why", "");
  show(status);
}

async function watch() {
  for (;;) {
    if (!document.hidden) await ask();
    await new Promise((resume) => setTimeout(resume, EVERY_MS));
  }
}

document.addEventListener("visibilitychange", () => document.hidden || ask());
watch();
