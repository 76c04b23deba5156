// What comes from the watcher, once a second, onto the page.

import { Chart, figure } from "/charts.js";
import { byId, element } from "/dom.js";
import { CameraMap, legend } from "/map.js";
import { PAGE, Wall } from "/wall.js";

const STATES = { waiting: "Waiting", planned: "Starting", running: "Running", ended: "Sent", judged: "Judged" };
const QUIET_MS = 3500;
const AGAIN_MS = 2000;
const POINTS = 180;

const charts = {
  rate: new Chart("Frames and results", "/s"),
  waiting: new Chart("Frames that wait for an answer", ""),
  p50: new Chart("Latency, median", "ms", { logarithmic: true }),
  p99: new Chart("Latency, p99", "ms", { logarithmic: true }),
};
const wall = new Wall(), map = new CameraMap((place) => wall.find(place));
let heardAt = 0, saidLast = "", points = [], names = [];

byId("charts").append(...Object.values(charts).map((chart) => chart.node));
byId("legend").append(...legend());

function list(id, texts) {
  const node = byId(id);
  node.hidden = texts.length === 0;
  node.replaceChildren(...texts.map((text) => element("li", text)));
}

function head(look) {
  const state = byId("state"), verdict = look.verdict?.verdict;
  state.textContent = verdict ?? STATES[look.state];
  state.dataset.state = verdict ?? look.state;
  byId("run").textContent = look.run ? `run ${look.run}` : "";
  byId("about").textContent = look.about;
  document.title = `${verdict ?? STATES[look.state]}${look.run ? `: ${look.run}` : ""}`;
}

/** Aloud only what is new: seconds that pass are no news. */
function say(texts) {
  const news = texts.map((text) => text.replace(/[\d,.]+ ?/g, "")).join(" ");
  if (news === saidLast) return;
  saidLast = news;
  byId("said").textContent = texts.join(" ");
}

function verdict(found) {
  byId("verdict").hidden = !found;
  if (!found) return;
  byId("verdict-title").textContent = found.verdict === "VALID" ? "VALID: no rule was broken" : "INVALID: its numbers must not be used";
  list("reasons", found.reasons);
  const link = element("a", "Open the report");
  link.href = "/report";
  const command = element("code", `edgewise report ${found.folder}`);
  byId("report").replaceChildren(...(found.page ? [link, ` (${found.folder})`] : ["The report: ", command]));
}

function way(stages) {
  byId("way").replaceChildren(...stages.map((stage) => {
    const row = element("div", "", stage.name.split(" ").at(-1));
    const step = element("dd", "", "step"), bar = element("span");
    bar.style.setProperty("--share", stage.share ?? 0);
    step.setAttribute("aria-hidden", "true");
    step.append(bar);
    row.append(element("dt", stage.name), step, element("dd", stage.frames === null ? "at the end" : figure(stage.frames, 0)));
    return row;
  }));
}

const ROWS = [
  ["accuracy %", (tier) => figure(tier.judged ? (tier.right / tier.judged) * 100 : null, 2)],
  ["p50 ms", (tier) => figure(tier.p50_ms)],
  ["p99 ms", (tier) => figure(tier.p99_ms)],
  ["results/s", (tier) => figure(tier.rate_hz)],
  ["frames waiting", (tier) => figure(tier.waiting, 0)],
  ["Kafka group lag", (tier) => figure(tier.lag, 0)],
  ["rejected", (tier) => figure(tier.rejected, 0)],
  ["silent for, s", (tier) => figure(tier.silent_s)],
  ["engine", (tier) => tier.engine || "n/a"],
  ["model", (tier) => tier.model.replace("@", "@\u200b") || "n/a"], // a long name goes on in the next line there
];

function heading(text, scope, kind = "") {
  const cell = element("th", text, kind);
  cell.scope = scope;
  return cell;
}

function tiers(found, paired) {
  const table = document.querySelector(".tiers"), top = element("tr");
  top.append(element("td"), ...found.map((tier) => heading(tier.name, "col", tier.name)));
  table.tHead.replaceChildren(top);
  table.tBodies[0].replaceChildren(...(found.length ? ROWS : []).map(([name, value], place) => {
    const row = element("tr", "", { 0: "first", [ROWS.length - 1]: "last" }[place]);
    row.append(heading(name, "row"), ...found.map((tier) => element("td", value(tier))));
    return row;
  }));
  byId("paired").textContent = paired.frames
    ? `Same label from both: ${figure((paired.same / paired.frames) * 100, 2)} % of ${figure(paired.frames, 0)} frames.`
    : found.length ? "" : "No tier has answered yet.";
}

function draw(found) {
  const lines = (value) =>
    Object.fromEntries(found.map(({ name }) => [name, points.map((point) => [point.at_s, value(point)[name]])]));
  const now = points.at(-1)?.at_s ?? 0, frames = points.map((point) => [point.at_s, point.frames_hz]);
  charts.rate.draw({ frames, ...lines((point) => point.rates_hz) }, now);
  charts.waiting.draw(lines((point) => point.waiting), now);
  charts.p50.draw(lines((point) => point.p50_ms), now);
  charts.p99.draw(lines((point) => point.p99_ms), now);
}

function worst(found, tiers) {
  byId("worst-box").hidden = !found.length;
  const table = document.querySelector(".worst"), top = element("tr");
  top.append(heading("camera", "col"), ...tiers.map(({ name }) => heading(name, "col", name)), heading("right %", "col"));
  table.tHead.replaceChildren(top);
  table.tBodies[0].replaceChildren(...found.map((one) => {
    const row = element("tr"), share = one.judged ? (one.right / one.judged) * 100 : null;
    row.append(heading(one.camera, "row"), ...tiers.map(({ name }) => element("td", figure(one.medians_ms[name]))), element("td", figure(share, 0)));
    return row;
  }));
}

/** Points and names come when they are new. */
function learn(look) {
  points = [...(look.whole ? [] : points), ...look.points].slice(-POINTS);
  names = look.names ?? names;
}

async function show(look) {
  const began = performance.now();
  learn(look);
  head(look);
  list("notices", look.notices);
  list("remarks", look.remarks);
  say([...look.notices, ...(look.verdict ? [`The run is ${look.verdict.verdict}.`] : [])]);
  verdict(look.verdict);
  way(look.stages);
  tiers(look.tiers, look.paired);
  draw(look.tiers);
  worst(look.worst, look.tiers);
  byId("notes").textContent = look.notes;
  map.show(look.marks, names, PAGE);
  if (!await wall.show(names.length)) return;
  document.body.dataset.refreshMs = (performance.now() - began).toFixed(1);
  document.body.dataset.refreshes = Number(document.body.dataset.refreshes ?? 0) + 1;
}

function link(live, text) {
  byId("link").dataset.live = live ? "yes" : "no";
  if (byId("link-text").textContent !== text) byId("link-text").textContent = text;
}

function listen() {
  const stream = new EventSource("/events");
  stream.onmessage = (message) => {
    heardAt = performance.now();
    const look = JSON.parse(message.data);
    link(true, `Live, watched for ${figure(look.watched_s, 0)} s`);
    show(look);
  };
  stream.onerror = () => {
    offline();
    // A browser gives up on an answer that is no stream; we do not.
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN_MS);
  };
}

function offline() {
  link(false, "Offline: the watcher does not answer; trying again");
  say(["Offline: the watcher does not answer."]);
}

setInterval(() => { if (heardAt && performance.now() - heardAt > QUIET_MS) offline(); }, 1000);
listen();
