// One input after the other. An answer counts as saved when the server has said so, and it says so when the broker has it.

import { seen, shown } from "/show.js";

/** Keys of answers that are no signs themselves. S and U have a meaning of their own. */
const KEYS = "1234567890", TAKEN = "su";
/** Characters of the longest answer that needs little room. */
const SHORT = 3;
/** For so long after a new input nothing is taken: a second tap was meant for the last one. */
const CALM_MS = 250;
/** How often somebody without work asks for new inputs. */
const IDLE_MS = 4000;
const $ = (id) => document.getElementById(id);

let task = null, classes = [], keys = [], busy = false, calm = false, calming = 0, idle = 0, retry = null;
const touch = () => matchMedia("(hover: none) and (pointer: coarse)").matches;
const many = () => classes.length > 0 && keys.length === 0;
const inWords = () => classes.length === 0;

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function post(step, body = {}) {
  let response;
  try {
    response = await fetch(`/api/${step}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  } catch {
    throw new Refused(0, "the server of this page does not answer");
  }
  const document = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, document.error ?? `the server says ${response.status}`);
  return document;
}

/** One step of the person: everything waits for it. `told`: what to say when it is done. */
async function act(step, body, told) {
  if (busy) return;
  clearTimeout(idle);
  lock(true);
  try {
    const document = await post(step, body);
    $("fault").hidden = true;
    show(document);
    say(...(told?.(document) ?? [""]));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    failed(error, () => act(step, body, told), step);
  } finally {
    lock(false);
  }
}

function failed(error, again, step) {
  if (error.status === 401) return login("");
  if (error.status === 409) return void setTimeout(() => act("next", {}, () => [error.message, true]));
  const what = { label: "Not saved", undo: "Not undone" }[step] ?? "It did not work";
  $("fault-text").textContent = `${what}: ${error.message}. ${error.status === 422 ? "" : "Nothing is lost: try again."}`;
  $("fault").hidden = false;
  $("fault").scrollIntoView({ block: "nearest" });
  retry = again;
}

function lock(on) {
  busy = on;
  document.body.dataset.busy = String(on);
  for (const button of document.querySelectorAll("#work button, #over button")) button.disabled = on || button.dataset.off === "true";
}

function say(text, other = false) {
  $("said").textContent = text;
  $("said").classList.toggle("other", other);
}

// what is shown

function only(id) {
  for (const name of ["login", "work", "over"]) $(name).hidden = name !== id;
  $("far").hidden = $("bar").hidden = id === "login";
}

function show(document_) {
  const { who, question, progress } = document_;
  $("who").textContent = who;
  measure(progress);
  if (document_.classes.join("\n") !== classes.join("\n") || !$("classes").dataset.made) offer(document_.classes);
  const same = task !== null && task.source === document_.task?.source && document_.task.former === null;
  task = document_.task;
  if (task === null) return over(progress);
  only("work");
  $("question").textContent = question;
  if (!same) fresh();
}

function settle() {
  calm = false;
  document.body.dataset.calm = "false";
  clearTimeout(calming);
  calming = setTimeout(() => {
    calm = true;
    document.body.dataset.calm = "true";
  }, CALM_MS);
}

function fresh() {
  settle();
  $("input").replaceChildren(...shown(task.input));
  $("rest").replaceChildren(...shown(task.rest));
  $("rest-box").hidden = task.rest.length === 0;
  $("rest-box").open = false;
  for (const button of $("classes").children) {
    const before = button.value === task.former;
    button.classList.toggle("before", before);
    button.setAttribute("aria-pressed", String(before));
  }
  $("filter").value = "";
  narrow();
  $("answer").value = task.former ?? "";
  window.scrollTo(0, 0);
  if (inWords()) $("answer").focus({ preventScroll: true });
  if (many() && !touch()) $("filter").focus({ preventScroll: true });
}

function over(progress) {
  only("over");
  $("skipped").hidden = progress.skipped === 0;
  $("skipped").textContent = progress.skipped === 1 ? "Show the one I skipped" : `Show the ${progress.skipped} I skipped`;
  $("undo-last").hidden = !progress.undo;
  idle = setTimeout(() => act("next"), IDLE_MS);
}

function measure({ done, left, seconds, undo }) {
  const all = done + left;
  const share = all ? Math.round((100 * done) / all) : 100;
  $("done").textContent = done.toLocaleString("en");
  $("left").textContent = left.toLocaleString("en");
  $("pace").textContent = seconds === null ? "" : `${duration(seconds)} each${left ? `, about ${duration(seconds * left)} left` : ""}`;
  $("bar").firstElementChild.style.width = `${share}%`;
  $("bar").setAttribute("aria-valuenow", String(share));
  $("undo").dataset.off = String(!undo);
  document.title = left ? `(${left}) Review` : "Review";
}

function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** A key for each answer; none where there are too many. A digit or a letter is its own key. */
function keysOf(names) {
  const own = names.map((name) => name.toLowerCase());
  if (new Set(own).size === own.length && own.every((name) => name.length === 1 && !TAKEN.includes(name))) return own;
  return names.length <= KEYS.length ? [...KEYS].slice(0, names.length) : [];
}

function offer(names) {
  classes = names;
  keys = keysOf(names);
  $("classes").dataset.made = "true";
  $("classes").hidden = inWords();
  $("classes").classList.toggle("many", many());
  $("classes").classList.toggle("five", !many() && names.length >= 5 && names.every((name) => name.length <= SHORT));
  $("words").hidden = !inWords();
  $("filter").hidden = !many();
  $("classes").replaceChildren(...names.map((name, at) => {
    const made = document.createElement("button");
    made.type = "button";
    made.value = name;
    if (!many() && keys[at] !== name.toLowerCase()) made.append(Object.assign(document.createElement("kbd"), { textContent: keys[at].toUpperCase() }));
    made.append(Object.assign(document.createElement("span"), { textContent: seen(name) }));
    made.addEventListener("click", () => label(name));
    return made;
  }));
  $("skip-key").textContent = inWords() || many() ? "Esc" : "S";
  $("undo-key").textContent = inWords() || many() ? "Ctrl Z" : "U";
  $("hint").textContent = touch() ? "" : inWords() ? "Type the right answer and press Enter. Shift and Enter begin a new line." : many()
    ? "Type a few letters and press Enter to take the first answer, or click one." : "Press the key of the right answer, or click it.";
}

function narrow() {
  const wanted = $("filter").value.trim().toLowerCase();
  for (const button of $("classes").children) button.hidden = !button.value.toLowerCase().includes(wanted);
}

// what the person does

const early = () => busy || task === null || !calm;

function label(truth) {
  if (early() || !truth.trim()) return;
  act("label", { source: task.source, truth }, ({ saved }) => [`✓ Saved: ${seen(saved.length > 40 ? `${saved.slice(0, 39)}…` : saved)}`]);
}

const skip = () => early() || act("skip", { source: task.source }, () => ["Skipped", true]);
const undo = () => act("undo", {}, ({ task: now }) => [now?.former === null || now === null ? "Taken back" : "Taken back: answer again", true]);

function pressed(event) {
  if (event.altKey || event.isComposing) return;
  const typing = event.target instanceof HTMLTextAreaElement || event.target instanceof HTMLInputElement;
  const key = event.key.toLowerCase();
  // a key that is held down acts once
  if (event.repeat && (!typing || key === "enter" || key === "escape")) return event.preventDefault();
  if (!$("over").hidden && key === "u") return take(event, undo);
  if ($("work").hidden) return;
  if (event.ctrlKey || event.metaKey) {
    if (key === "z" && !(typing && event.target.value) && $("undo").dataset.off !== "true") take(event, undo);
  } else if (key === "escape") take(event, skip);
  else if (event.target === $("answer") && key === "enter" && !event.shiftKey) take(event, () => label($("answer").value));
  else if (event.target === $("filter") && key === "enter") take(event, first);
  else if (!typing && !inWords() && !many()) byKey(event, key);
}

function byKey(event, key) {
  if (key === "s") take(event, skip);
  else if (key === "u" && $("undo").dataset.off !== "true") take(event, undo);
  else if (keys.includes(key)) take(event, () => label(classes[keys.indexOf(key)]));
}

function first() {
  const found = $("filter").value.trim() && [...$("classes").children].find((button) => !button.hidden);
  if (found) label(found.value);
}

function take(event, what) {
  event.preventDefault();
  what();
}

// who the person is

function login(why) {
  task = null;
  $("who").textContent = "";
  document.title = "Review";
  only("login");
  $("fault").hidden = !why;
  $("fault-text").textContent = why;
  retry = null;
  $("again").hidden = true;
  $("token").focus();
}

async function enter(token) {
  try {
    await post("login", { token });
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return login(error.status === 401 ? "Nobody has this token. Ask whoever gave it to you for a new one." : `That did not work: ${error.message}.`);
  }
  $("token").value = "";
  $("again").hidden = false;
  await act("next");
}

$("login").addEventListener("submit", (event) => take(event, () => enter($("token").value)));
$("logout").addEventListener("click", async () => {
  await post("logout").catch(() => null);
  login("");
});
$("again").addEventListener("click", () => retry?.());
$("skip").addEventListener("click", skip);
for (const id of ["undo", "undo-last"]) $(id).addEventListener("click", undo);
$("skipped").addEventListener("click", () => act("skipped"));
$("save").addEventListener("click", () => label($("answer").value));
$("filter").addEventListener("input", narrow);
document.addEventListener("keydown", pressed);

/** The token comes behind #, which no request carries; it does not stay in the address. */
function given() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (location.hash) history.replaceState(null, "", location.pathname);
  return token;
}

addEventListener("hashchange", () => {
  const token = given();
  if (token) enter(token);
});
const token = given();
if (token) enter(token);
else act("next");
