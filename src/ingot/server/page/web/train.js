// The room Train: how the served model was trained, and runs opened from their metrics.jsonl.

import { explain } from "./api.js";
import { button, el, figure, table } from "./dom.js";
import { follow } from "./follow.js";
import * as format from "./format.js";
import * as models from "./models.js";
import { plot } from "./plot.js";
import { finish, newRun, readMore } from "./run_file.js";

const CURVES = [
  ["Training loss, nats per token", "loss", {}],
  ["Tokens per second", "tokens_per_second", {}],
  ["Gradient norm", "gradient_norm", { log: true }],
  ["Share of the full learning rate", "learning_rate", {}],
];
const SAMPLES = 5;
const EVERY_MS = 2000; // a run that is watched is read again

let origin = null;
let curves = null;
let status = null;
let watched = null; // { handle, run } of a run that is still going
let timer = null;

export function open(room) {
  const input = el("input", { id: "run-files", class: "unseen", type: "file", multiple: true, accept: ".jsonl", on: { change: () => load(input) } });
  origin = el("div", {});
  curves = el("div", { class: "plots" });
  status = el("p", { class: "status", role: "status" });
  if (document.body.dataset.run) {
    const controls = el("div", { class: "doings" });
    room.append(el("h2", {}, document.body.dataset.run), controls, status, curves);
    follow(controls, status, draw);
    return;
  }
  room.append(
    el("h2", {}, "How this model was trained"),
    origin,
    el("h2", {}, "A run’s curves"),
    el("p", { class: "lead" }, "Open the file metrics.jsonl of one run, or of several to compare them. It is read by this browser and sent nowhere."),
    el("div", { class: "doings" },
      el("label", { class: "button", for: "run-files" }, "Open metrics.jsonl"), input,
      // Not every browser lets a page read a file again.
      window.showOpenFilePicker ? button("Watch a run as it goes", choose) : null),
    status,
    curves,
  );
  models.onChange(enter);
}

export async function enter() {
  if (!origin || document.body.dataset.run) return;
  clearTimeout(timer);
  if (watched) watch();
  try {
    const model = await models.needed();
    if (model) showOrigin(await models.facts(model));
  } catch (error) {
    origin.replaceChildren(el("p", { class: "status error" }, explain(error)));
  }
}

function showOrigin(facts) {
  const from = facts.provenance;
  const figures = [
    ["Parameters", `${format.scaled(facts.parameters)}`],
    ["Updates", from.steps, format.whole],
    ["Tokens read", from.tokens, format.whole],
    ["Work", from.flops, (value) => `${format.scaled(value)}FLOP`],
    ["Time", from.wall_seconds, format.seconds],
    ["Held-out loss", from.validation_loss, (value) => `${value.toFixed(3)} nats`],
    ["Bits per byte", from.bits_per_byte, (value) => value.toFixed(3)],
    ["Seed", from.seed, String],
  ];
  const shown = figures.filter(([, value]) => value !== null && value !== undefined);
  origin.replaceChildren(
    el("dl", { class: "figures" }, shown.map(([name, value, write]) => figure(name, write ? write(value) : value)),
      figure("Digest of the text it read", from.corpus_digest ?? "not known", true)),
    from.recipe ? el("details", {}, el("summary", {}, "The whole recipe, as sealed with the model"), el("div", { class: "recipe" }, recipe(from.recipe))) : el("p", { class: "lead" }, "It does not say how it was trained."),
  );
}

function recipe(sections) {
  return Object.entries(sections).map(([name, values]) =>
    table(name, ["setting", "value"], Object.entries(values ?? {}).map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)])));
}

async function load(input) {
  const files = [...input.files];
  if (!files.length) return;
  say("Reading…");
  try {
    unwatch();
    const runs = await Promise.all(files.map(async (file) => {
      const run = newRun(file.name);
      await readMore(run, file);
      finish(run);
      return run;
    }));
    input.value = "";
    const empty = runs.find((run) => !run.steps.length);
    if (empty) throw new Error(`${empty.name} holds no updates of a run.`);
    named(runs);
    await draw(runs);
    const skipped = runs.reduce((sum, run) => sum + run.skipped, 0);
    const steps = runs.reduce((sum, run) => sum + run.steps.length, 0);
    say(`${format.whole(steps)} updates read${skipped ? `, ${skipped} broken lines left out` : ""}.`);
  } catch (error) {
    say(error.message, true);
  }
}

// ---- A run that is still going: its file is read again as it grows

async function choose() {
  let handles;
  try {
    handles = await window.showOpenFilePicker({ types: [{ description: "A run’s record", accept: { "application/jsonl": [".jsonl"] } }] });
  } catch {
    return; // nothing was chosen
  }
  unwatch();
  watched = { handle: handles[0], run: newRun(handles[0].name) };
  watch();
}

async function watch() {
  const mine = watched;
  try {
    const before = mine.run.steps.length;
    await readMore(mine.run, await mine.handle.getFile());
    if (watched !== mine) return;
    const { steps } = mine.run;
    if (steps.length !== before) await draw([mine.run]);
    say(steps.length ? `Watching: update ${format.whole(steps.at(-1).step)}, loss ${steps.at(-1).loss.toFixed(3)}.` : "Watching: no update yet.");
    timer = setTimeout(watch, EVERY_MS);
  } catch (error) {
    say(`The file can no longer be read: ${error.message}`, true);
  }
}

function unwatch() {
  clearTimeout(timer);
  watched = null;
}

export function leave() {
  clearTimeout(timer);
}

// Files of runs are all called the same: number them.
function named(runs) {
  if (runs.length > 1) runs.forEach((run, place) => (run.name = `run ${place + 1}`));
}

// Each plot is a task of its own, so that the page has its turn in between.
async function draw(runs) {
  curves.replaceChildren();
  for (const [title, field, options] of CURVES) {
    await new Promise((resume) => setTimeout(resume));
    const series = runs.map(({ name, steps }) => ({ name, xs: steps.map((s) => s.step), ys: steps.map((s) => Number(s[field])) }));
    curves.append(plot(title, series, { xName: "updates", ...options }));
  }
  const scored = runs.filter((run) => run.evaluations.length > 1);
  if (scored.length) {
    const series = scored.map(({ name, evaluations }) => ({ name, xs: evaluations.map((e) => e.step), ys: evaluations.map((e) => Number(e.bits_per_byte)) }));
    curves.append(plot("Held-out text, bits per byte", series, { xName: "updates" }));
  }
  curves.append(...runs.flatMap(samples));
}

function samples(run) {
  if (!run.samples.length) return [];
  const every = Math.max(1, Math.ceil(run.samples.length / SAMPLES));
  const shown = run.samples.filter((_, place) => place % every === 0 || place === run.samples.length - 1);
  return [el("section", { class: "samples" }, el("h3", {}, `What ${run.name} wrote on the way`),
    shown.map(({ step, prompt, text }) =>
      el("figure", {}, el("figcaption", {}, `after ${format.whole(step)} updates`), el("pre", {}, el("span", { class: "prompt" }, String(prompt)), text))))];
}

function say(text, isError = false) {
  status.textContent = text;
  status.classList.toggle("error", isError);
}
