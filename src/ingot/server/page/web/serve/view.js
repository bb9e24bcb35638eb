// The view Serve: what the server does right now, from /metrics and /admin/activity.

import { explain, json, text } from "../shared/api.js";
import { button, el, figure, table } from "../shared/elements.js";
import * as format from "../shared/format.js";
import { LineChart } from "../shared/line_chart.js";
import { Samples } from "../shared/prometheus.js";

const INTERVAL_MS = 1000;
const MAX_READINGS = 120; // in the chart
const HISTOGRAMS = [
  ["Time to first token", "vllm:time_to_first_token_seconds"],
  ["Time for each token after it", "vllm:request_time_per_output_token_seconds"],
  ["Time in the queue", "vllm:request_queue_time_seconds"],
];

let figures = null;
let throughput = null;
let histograms = null;
let requests = null;
let status = null;
let timer = null;
let readings = []; // { time, samples }, the newest last

export function open(view) {
  status = el("p", { class: "status", role: "status" });
  figures = el("dl", { class: "figures" });
  throughput = new LineChart("Tokens written per second", { xName: "seconds" });
  histograms = el("div", { class: "histograms" });
  requests = el("div", {});
  view.append(
    el("h2", {}, "Server activity"),
    status,
    figures,
    el("div", { class: "plots" }, throughput.element, histograms),
    requests,
  );
}

export function enter() {
  clearTimeout(timer);
  update();
}

export function leave() {
  clearTimeout(timer);
  timer = null;
}

async function update() {
  clearTimeout(timer);
  timer = setTimeout(update, INTERVAL_MS);
  const mine = timer;
  try {
    const [metrics, activity] = await Promise.all([text("metrics"), activityOrNone()]);
    if (timer !== mine && timer === null) return; // the view was left meanwhile
    const samples = new Samples(metrics);
    const reading = { time: performance.now() / 1000, samples };
    readings = [...readings.slice(1 - MAX_READINGS), reading];
    showFigures(samples);
    throughput.update([tokensPerSecond()]);
    histograms.replaceChildren(
      ...HISTOGRAMS.map(([title, name]) => histogram(title, samples.buckets(name))),
    );
    if (activity) showActivity(activity);
    showStatus("");
  } catch (error) {
    showStatus(explain(error), true);
  }
}

// A public server without keys keeps its activity to itself.
async function activityOrNone() {
  try {
    return await json("admin/activity");
  } catch (error) {
    if (error.status === 403) return null;
    throw error;
  }
}

function showFigures(now) {
  const before = readings.at(-2);
  const rate = (name) => {
    const first = before?.samples.sum(name) ?? null;
    const last = now.sum(name);
    if (first === null || last === null) return null;
    return Math.max(0, last - first) / (readings.at(-1).time - before.time);
  };
  const queried = now.sum("vllm:prefix_cache_queries_total");
  const hits = now.sum("vllm:prefix_cache_hits_total");
  const drafted = now.sum("vllm:spec_decode_num_draft_tokens_total");
  const accepted = now.sum("vllm:spec_decode_num_accepted_tokens_total");
  const steps = rate("ingot:engine_steps_total");
  const written = rate("vllm:generation_tokens_total");
  const computed = (rate("ingot:prefill_tokens_total") ?? 0) + (written ?? 0);
  const all = [
    ["Running", now.sum("vllm:num_requests_running"), format.whole],
    ["Waiting", now.sum("vllm:num_requests_waiting"), format.whole],
    ["Tokens/s", written, format.whole],
    ["Tokens in a step", steps ? computed / steps : null, format.short],
    ["KV cache in use", now.sum("vllm:kv_cache_usage_perc"), format.percent],
    ["Prompt tokens cached", queried ? hits / queried : null, format.percent],
    ["Draft tokens accepted", drafted ? accepted / drafted : null, format.percent],
    ["Tokens written", now.sum("vllm:generation_tokens_total"), format.whole],
    ["Preempted", now.sum("vllm:num_preemptions_total"), format.whole],
    ["Refused", tooManyRequests(now), format.whole],
  ];
  const known = all.filter(([, value]) => value !== null);
  figures.replaceChildren(...known.map(([name, value, write]) => figure(name, write(value))));
}

const tooManyRequests = (now) =>
  now
    .all("ingot:http_responses_total")
    .filter(({ labels }) => labels.status === "429")
    .reduce((total, { value }) => total + value, 0);

function tokensPerSecond() {
  const tokens = (reading) => reading.samples.sum("vllm:generation_tokens_total") ?? 0;
  const xs = [];
  const ys = [];
  for (let index = 1; index < readings.length; index += 1) {
    const [before, now] = [readings[index - 1], readings[index]];
    xs.push(now.time - readings.at(-1).time);
    ys.push(Math.max(0, tokens(now) - tokens(before)) / (now.time - before.time));
  }
  return { name: "tokens/s", xs, ys };
}

// Bars beside a table's numbers: a screen reader reads the table.
function histogram(title, allBuckets) {
  const buckets = allBuckets.filter(([, count]) => count > 0);
  const largest = Math.max(...buckets.map(([, count]) => count), 1);
  const rows = buckets.map(([bound, count]) => {
    const bar = el("span", { class: "bar", "aria-hidden": "true" });
    bar.style.width = `${(100 * count) / largest}%`;
    const label = bound === Infinity ? "longer" : `up to ${format.seconds(bound)}`;
    return el(
      "tr",
      {},
      el("th", { scope: "row" }, label),
      el("td", { class: "bars" }, bar),
      el("td", {}, format.whole(count)),
    );
  });
  return el(
    "figure",
    { class: "plot" },
    el("figcaption", {}, title),
    rows.length
      ? el("table", { class: "histogram" }, el("tbody", {}, rows))
      : el("p", { class: "help" }, "No requests yet."),
  );
}

// ---- The requests that are being answered

let shownRows = "";

function showActivity(activity) {
  const { requests: running, keys } = activity;
  const named = keys.some(({ key }) => key !== "");
  const requestCells = running.map((each) => [
    each.id.slice(0, 12),
    each.model,
    ...(named ? [each.key] : []),
    format.seconds(each.seconds),
    format.whole(each.prompt_tokens),
    format.whole(each.completion_tokens),
  ]);
  const keyCells = keys.map((each) => [
    each.key || "no key",
    format.whole(each.requests),
    format.whole(each.refused),
    format.whole(each.prompt_tokens),
    format.whole(each.cached_tokens),
    format.whole(each.completion_tokens),
  ]);
  // The rows stay while they list the same requests: rebuilding them each second would take the
  // button from under a click and the reading position from a screen reader.
  const rows = JSON.stringify([running.map(({ number }) => number), keys.length, named]);
  if (rows === shownRows) {
    updateCells([...requestCells, ...keyCells]);
    return;
  }
  shownRows = rows;
  const keyColumn = named ? ["Key"] : [];
  const columns = [
    "Request",
    "Model",
    ...keyColumn,
    "Running for",
    "Prompt tokens",
    "Written",
    "Cancel",
  ];
  const cancellable = requestCells.map((cells, index) => [...cells, cancelButton(running[index])]);
  requests.replaceChildren(
    el("h3", {}, "Running requests"),
    running.length
      ? table("Running requests", columns, cancellable)
      : el("p", { class: "help" }, "No request is running."),
    el("h3", {}, "Usage by key"),
    keys.length
      ? table(
          "What each key has used since the server started",
          ["Key", "Requests", "Refused", "Prompt tokens", "Of these cached", "Written"],
          keyCells,
        )
      : el("p", { class: "help" }, "No requests yet."),
  );
}

function updateCells(rows) {
  const shown = requests.querySelectorAll("tbody tr");
  for (const [index, cells] of rows.entries()) {
    const elements = shown[index]?.querySelectorAll("th, td") ?? [];
    for (const [column, text] of cells.entries())
      if (elements[column] && elements[column].textContent !== text)
        elements[column].textContent = text;
  }
}

function cancelButton({ number, id }) {
  const cancel = async () => {
    try {
      await json("admin/cancel", { body: { number } });
      update();
    } catch (error) {
      if (error.status !== 404) showStatus(explain(error), true); // 404: it has just finished
    }
  };
  return button("Cancel", cancel, { "aria-label": `Cancel request ${id.slice(0, 12)}` });
}

function showStatus(text, isError = false) {
  if (status.textContent !== text) status.textContent = text;
  status.classList.toggle("error", isError);
}
