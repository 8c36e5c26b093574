// Is the promise still true? What the auditor of the fleet said last. Words from records are shown as text.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 320, HEIGHT = 96;
const $ = (id) => document.getElementById(id);
const percent = (value, digits = 1) => (typeof value === "number" ? `${(100 * value).toFixed(digits)} %` : "–");
const ABOUT = { error: "of the trusted answers are wrong", false_positive_rate: "of the right answers are rejected" };

function make(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** Shows the section, or hides it where there is no audit. */
export function showAudit(told, { text, foreign, ago, count }) {
  $("audit").hidden = !told;
  if (!told) return;
  const version = told.versions.find((one) => one.version === told.newest) ?? told.versions.at(-1);
  const alarm = version?.alarms[0];
  const share = version?.shares[alarm?.kind ?? "error"];
  const [tone, word] = verdict(told, version, alarm, share);
  text("audit-tag", word);
  $("audit-tag").className = `tag ${tone}`;
  text("audit-promise", alarm ? `Promised: at most ${percent(alarm.promise)} ${ABOUT[alarm.kind]}.` : "No promise is known of these thresholds.");
  text("audit-value", share ? percent(share.value) : "–");
  text("audit-interval", share?.of ? `95 % sure: ${percent(share.lower)} to ${percent(share.upper)}, by ${count(share.of)} labels` : "no label yet");
  text("audit-level", alarm ? `${(100 * Math.min(1, alarm.level)).toFixed(0)} % of the way to an alarm` : "");
  const labels = version?.labels;
  text("audit-labelled", labels ? `${count(labels.labelled)} of ${count(labels.wanted)}` : "–");
  text("audit-outstanding", labels ? count(labels.outstanding) : "–");
  text("audit-late", labels ? count(labels.late) : "–");
  text("audit-doubtful", percent(version?.shares.doubtful.value));
  text("audit-disagreement", percent(version?.shares.disagreement.value));
  drawHistory(told.history, alarm?.promise);
  showHint(told, version, { foreign, ago, count });
}

function verdict(told, version, alarm, share) {
  if (told.failure && told.number === null) return ["bad", "cannot be told"];
  if (!version) return ["", "nothing known yet"];
  if (alarm?.raised) return ["bad", "alarm: no longer true"];
  if (version.labels_late) return ["warn", "labels are late"];
  if (!version.labels.labelled) return ["", "no labels yet"];
  if (!alarm) return ["", "no promise"];
  if (share.of && share.upper <= alarm.promise) return ["good", "yes, as far as labels tell"];
  if (share.of && share.lower > alarm.promise) return ["warn", "in doubt, no alarm yet"];
  return ["", "no alarm, but too few labels to be sure"];
}

function showHint(told, version, { foreign, ago, count }) {
  const parts = [];
  if (version) parts.push("Thresholds ", foreign(version.version), ". ");
  const alarm = version?.alarms[0];
  if (alarm?.raised) parts.push(`The alarm was raised ${alarm.raised === 1 ? "once" : `${count(alarm.raised)} times`}, last by the label of `, foreign(alarm.last), ". ");
  if (told.raised) parts.push(`Since an alarm ${percent(told.raised.share)} of the requests are drawn: ${count(told.raised.labels)} of ${count(told.raised.most)} labels that this may want. `);
  if (told.number !== null) parts.push(`Closing ${count(told.number)}, ${ago(told.written_ms)}, by `, foreign(told.by), ". ");
  if (version?.labels.labelled && version.labels.outstanding) parts.push("Labels count in the order of the requests: those after a request that waits for its label count later. ");
  if (told.unknown_sources) parts.push(`${count(told.unknown_sources)} labels are about requests of which none is waited for. `);
  if (told.failure) parts.push("This worker cannot audit: ", foreign(told.failure), ". ");
  const said = parts.map((part) => (typeof part === "string" ? part : part.textContent)).join("");
  if ($("audit-hint").textContent !== said) $("audit-hint").replaceChildren(...parts);
}

/** The estimate over time, with its interval, and the promise as a line. */
function drawHistory(history, promise) {
  const place = $("audit-chart"), drawn = JSON.stringify([history, promise]);
  if (place.dataset.drawn === drawn) return;
  place.dataset.drawn = drawn;
  if (history.length < 2) return place.replaceChildren();
  const [from, to] = [history[0][0], history.at(-1)[0]];
  const highest = Math.min(1, 1.15 * Math.max(promise ?? 0, ...history.slice(-Math.ceil(history.length / 2)).map(([, , , upper]) => upper)));
  const x = (ms) => ((WIDTH * (ms - from)) / Math.max(1, to - from)).toFixed(1);
  const y = (value) => (HEIGHT - (HEIGHT - 4) * Math.min(1, value / highest)).toFixed(1);
  const upper = history.map(([ms, , , high]) => `${x(ms)},${y(high)}`);
  const lower = history.map(([ms, , low]) => `${x(ms)},${y(low)}`).reverse();
  const svg = make("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
    "aria-label": `The estimate over the last ${history.length} closings: ${percent(history[0][1])} first, ${percent(history.at(-1)[1])} now.` });
  svg.append(make("path", { class: "band", d: `M${upper.concat(lower).join("L")}Z` }),
    make("path", { class: "line", d: `M${history.map(([ms, value]) => `${x(ms)},${y(value)}`).join("L")}` }));
  if (promise) svg.append(make("line", { class: "promised", x1: 0, x2: WIDTH, y1: y(promise), y2: y(promise) }));
  place.replaceChildren(svg);
}
