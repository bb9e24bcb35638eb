// The room Serve: what the server does right now, from /metrics and /admin/activity.

import { explain, json, text } from "./api.js";
import { button, el, figure, table } from "./dom.js";
import * as format from "./format.js";
import { Samples } from "./metrics_text.js";
import { plot } from "./plot.js";

const EVERY_MS = 1000;
const KEPT = 120; // readings in the curve

let place = null;
let work = null;
let status = null;
let timer = null;
let readings = []; // { time, samples }

export function open(room) {
  status = el("p", { class: "status", role: "status" });
  place = el("div", {});
  work = el("div", {});
  room.append(el("h2", {}, "What the server does now"), status, place, work);
}

export function enter() {
  clearTimeout(timer);
  read();
}

export function leave() {
  clearTimeout(timer);
  timer = null;
}

async function read() {
  clearTimeout(timer);
  timer = setTimeout(read, EVERY_MS);
  const mine = timer;
  try {
    const [figures, activity] = await Promise.all([text("metrics"), json("admin/activity")]);
    if (timer !== mine && timer === null) return; // the room was left meanwhile
    const samples = new Samples(figures);
    readings = [...readings.slice(1 - KEPT), { time: performance.now() / 1000, samples }];
    draw(samples);
    drawActivity(activity);
    say("");
  } catch (error) {
    say(explain(error), true);
  }
}

function draw(now) {
  const before = readings.at(-2);
  const rate = (name) => {
    const [a, b] = [before?.samples.sum(name), now.sum(name)];
    return a === null || a === undefined || b === null ? null : Math.max(0, b - a) / (readings.at(-1).time - before.time);
  };
  const queried = now.sum("vllm:prefix_cache_queries_total");
  const hits = now.sum("vllm:prefix_cache_hits_total");
  const drafted = now.sum("vllm:spec_decode_num_draft_tokens_total");
  const steps = rate("ingot:engine_steps_total");
  const written = rate("vllm:generation_tokens_total");
  const computed = (rate("ingot:prefill_tokens_total") ?? 0) + (written ?? 0);
  const figures = [
    ["Running", now.sum("vllm:num_requests_running"), format.whole],
    ["Waiting", now.sum("vllm:num_requests_waiting"), format.whole],
    ["Tokens/s", written, format.whole],
    ["Tokens in a step", steps ? computed / steps : null, format.short],
    ["Cache in use", now.sum("vllm:kv_cache_usage_perc"), format.share],
    ["Prompts from the cache", queried ? hits / queried : null, format.share],
    ["Guesses accepted", drafted ? now.sum("vllm:spec_decode_num_accepted_tokens_total") / drafted : null, format.share],
    ["Tokens written", now.sum("vllm:generation_tokens_total"), format.whole],
    ["Put back for room", now.sum("vllm:num_preemptions_total"), format.whole],
    ["Refused", refused(now), format.whole],
  ];
  place.replaceChildren(
    el("dl", { class: "figures four" }, figures.filter(([, value]) => value !== null).map(([name, value, write]) => figure(name, write(value)))),
    el("div", { class: "plots" },
      plot("Tokens written per second", [speeds()], { xName: "s" }),
      histogram("Time to first token", now, "vllm:time_to_first_token_seconds"),
      histogram("Time for each token after it", now, "vllm:request_time_per_output_token_seconds"),
      histogram("Time in the queue", now, "vllm:request_queue_time_seconds")),
  );
}

// Rows keep their buttons while they stay: a click, or a reader's place, is not lost to a redraw.
let drawn = "";

function drawActivity({ requests, keys }) {
  const named = keys.some(({ key }) => key !== "");
  const shape = JSON.stringify([requests.map(({ number }) => number), keys.length, named]);
  const rows = requests.map((each) => [
    each.id.slice(0, 12), each.model, ...(named ? [each.key] : []), format.seconds(each.seconds),
    format.whole(each.prompt_tokens), format.whole(each.completion_tokens),
  ]);
  const used = keys.map((each) => [
    each.key || "no key", format.whole(each.requests), format.whole(each.refused), format.whole(each.prompt_tokens),
    format.whole(each.cached_tokens), format.whole(each.completion_tokens),
  ]);
  if (shape === drawn) {
    for (const [at, cells] of [...rows, ...used].entries())
      work.querySelectorAll("tbody tr")[at]?.querySelectorAll("th, td").forEach((cell, place) => {
        if (place < cells.length && cell.textContent !== cells[place]) cell.textContent = cells[place];
      });
    return;
  }
  drawn = shape;
  const head = ["Request", "Model", ...(named ? ["Key"] : []), "For", "Prompt tokens", "Written", "End it"];
  work.replaceChildren(
    el("h3", {}, "Being answered"),
    rows.length
      ? table("Requests that are being answered", head, rows.map((cells, at) => [...cells, ender(requests[at])]))
      : el("p", { class: "help" }, "No request is being answered."),
    el("h3", {}, "Answered for each key"),
    used.length
      ? table("What each key has used since the start", ["Key", "Requests", "Refused", "Prompt tokens", "Of these cached", "Written"], used)
      : el("p", { class: "help" }, "Nothing yet."),
  );
}

const ender = ({ number, id }) =>
  button("End", async () => {
    try {
      await json("admin/cancel", { body: { number } });
      read();
    } catch (error) {
      if (error.status !== 404) say(explain(error), true); // 404: it has just ended by itself
    }
  }, { "aria-label": `End request ${id.slice(0, 12)}` });

const refused = (now) =>
  now.all("ingot:http_responses_total").filter(({ labels }) => labels.status === "429").reduce((sum, { value }) => sum + value, 0);

function speeds() {
  const xs = [];
  const ys = [];
  for (let at = 1; at < readings.length; at += 1) {
    const [before, now] = [readings[at - 1], readings[at]];
    const written = (now.samples.sum("vllm:generation_tokens_total") ?? 0) - (before.samples.sum("vllm:generation_tokens_total") ?? 0);
    xs.push(now.time - readings.at(-1).time);
    ys.push(Math.max(0, written) / (now.time - before.time));
  }
  return { name: "tokens/s", xs, ys };
}

// Bars of text and width: what a screen reader reads is the table itself.
function histogram(title, samples, name) {
  const buckets = samples.buckets(name).filter(([, count]) => count > 0);
  const most = Math.max(...buckets.map(([, count]) => count), 1);
  const rows = buckets.map(([bound, count]) => {
    const bar = el("span", { class: "bar", "aria-hidden": "true" });
    bar.style.width = `${(100 * count) / most}%`;
    const label = bound === Infinity ? "longer" : `up to ${format.seconds(bound)}`;
    return el("tr", {}, el("th", { scope: "row" }, label), el("td", { class: "bars" }, bar), el("td", {}, format.whole(count)));
  });
  return el("figure", { class: "plot" }, el("figcaption", {}, title),
    rows.length ? el("table", { class: "histogram" }, el("tbody", {}, rows)) : el("p", { class: "help" }, "No request yet."));
}

function say(text, isError = false) {
  if (status.textContent !== text) status.textContent = text;
  status.classList.toggle("error", isError);
}
