// The view Serve: what the server does right now, from /metrics, /admin/batch and /admin/activity.

import { explain, json, text } from "../shared/api.js";
import { el } from "../shared/elements.js";
import { explained } from "../shared/explained.js";
import { LineChart } from "../shared/line_chart.js";
import { Samples } from "../shared/prometheus.js";
import { loadStyles } from "../shared/stylesheet.js";
import { BatchPicture } from "./batch_picture.js";
import { histogram } from "./histogram.js";
import { objectives } from "./objectives.js";
import { outcomes } from "./outcomes.js";
import { RunningRequests } from "./running_requests.js";
import { sampleLoad } from "./sample_load.js";
import { serverFigures } from "./server_figures.js";

const INTERVAL_MS = 1000;
const BATCH_MS = 300; // between two pictures of the batch
const MAX_READINGS = 120; // in the chart
const HISTOGRAMS = [
  ["Time to first token", "vllm:time_to_first_token_seconds"],
  ["Time for each token after it", "vllm:request_time_per_output_token_seconds"],
  ["Time in the queue", "vllm:request_queue_time_seconds"],
];

const MEANINGS = {
  Running: "Answers that are being written now, all in one batch.",
  Waiting: "Requests that have no place in the batch yet.",
  "KV cache in use":
    "What the model has computed for the texts that run, kept so that it is not computed again. It is full at 100%.",
  Block: "A piece of that cache, for a few tokens of one text, or of several that begin alike.",
  "Prompt tokens cached": "Those that another request had in its prompt before: they cost nothing.",
  Preempted: "Answers that had to make room, and were computed again later.",
  Refused: "Requests that were turned away, because too many waited.",
  "Time to first token": "How long a user waits until an answer begins.",
};

let parts = null;
let timers = {}; // by what they repeat
let readings = []; // { time, samples }, the newest last
const pictures = new Map(); // BatchPicture by model

export function open(view) {
  parts = {
    status: el("p", { class: "status", role: "status" }),
    figures: el("dl", { class: "figures" }),
    batches: el("div", {}),
    objectives: el("div", {}),
    outcomes: el("div", {}),
    throughput: new LineChart("Tokens written per second", { xName: "seconds" }),
    histograms: el("div", { class: "histograms" }),
    requests: new RunningRequests(update, (message) => showStatus(message, true)),
  };
  view.classList.add("serve");
  loadStyles("serve/serve.css").then(() =>
    view.append(
      el("h2", {}, "Server activity"),
      el(
        "p",
        { class: "lead" },
        "What the engine does now: who is answered, who waits, and what the cache holds.",
      ),
      parts.status,
      sampleLoad(),
      parts.batches,
      parts.figures,
      explained(MEANINGS),
      parts.objectives,
      parts.outcomes,
      el("div", { class: "plots" }, parts.throughput.element, parts.histograms),
      parts.requests.element,
    ),
  );
}

export function enter() {
  leave();
  timers = {};
  update();
  updateBatches();
}

export function leave() {
  for (const timer of Object.values(timers)) clearTimeout(timer);
  timers = null;
}

async function update() {
  if (!timers) return;
  clearTimeout(timers.figures);
  timers.figures = setTimeout(update, INTERVAL_MS);
  try {
    const [metrics, activity] = await Promise.all([text("metrics"), unlessKept("admin/activity")]);
    if (!timers) return; // the view was left meanwhile
    const reading = { time: performance.now() / 1000, samples: new Samples(metrics) };
    readings = [...readings.slice(1 - MAX_READINGS), reading];
    parts.figures.replaceChildren(...serverFigures(reading, readings.at(-2) ?? null));
    replace(parts.objectives, objectives(reading.samples));
    if (activity) replace(parts.outcomes, outcomes(activity.outcomes));
    parts.throughput.update([tokensPerSecond()]);
    parts.histograms.replaceChildren(
      ...HISTOGRAMS.map(([title, name]) => histogram(title, reading.samples.buckets(name))),
    );
    if (activity) parts.requests.show(activity);
    showStatus("");
  } catch (error) {
    showStatus(explain(error), true);
  }
}

// Replaced only when it says something else: a reader may be scrolling it.
function replace(part, shown) {
  if ((shown?.textContent ?? "") === part.textContent) return;
  part.replaceChildren(...(shown ? [shown] : []));
}

async function updateBatches() {
  if (!timers) return;
  clearTimeout(timers.batches);
  try {
    const report = document.hidden ? null : await unlessKept("admin/batch");
    if (!timers) return;
    if (report) showBatches(report.models);
  } catch {
    // The other reading says what is wrong.
  }
  timers.batches = setTimeout(updateBatches, BATCH_MS);
}

function showBatches(models) {
  const names = models.map(({ model }) => model);
  for (const model of pictures.keys()) if (!names.includes(model)) pictures.delete(model);
  for (const name of names) if (!pictures.has(name)) pictures.set(name, new BatchPicture());
  const elements = names.map((name) => pictures.get(name).element);
  if (
    elements.length !== parts.batches.childElementCount ||
    elements.some((each) => !each.parentNode)
  )
    parts.batches.replaceChildren(...elements);
  for (const each of models) pictures.get(each.model).show(each);
}

// A public server without keys keeps its requests to itself.
async function unlessKept(path) {
  try {
    return await json(path);
  } catch (error) {
    if (error.status === 403) return null;
    throw error;
  }
}

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

function showStatus(text, isError = false) {
  if (parts.status.textContent !== text) parts.status.textContent = text;
  parts.status.classList.toggle("error", isError);
}
