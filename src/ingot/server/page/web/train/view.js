// The view Train: how the served model was trained, and runs opened from their metrics.jsonl.

import { explain } from "../shared/api.js";
import { button, el, figure, table } from "../shared/elements.js";
import * as format from "../shared/format.js";
import * as models from "../shared/models.js";
import { showLiveRun } from "./live_run.js";
import { finish, newRun, readMore } from "./metrics_file.js";
import { RunCharts } from "./run_charts.js";

const INTERVAL_MS = 2000; // between readings of a file that is watched

let provenance = null;
let charts = null; // the container
let status = null;
let watched = null; // { handle, run, charts } of a file that is read as it grows
let timer = null;

export function open(view) {
  provenance = el("div", {});
  charts = el("div", {});
  status = el("p", { class: "status", role: "status" });
  if (document.body.dataset.run) {
    const controls = el("div", { class: "toolbar" });
    view.append(el("h2", {}, document.body.dataset.run), controls, status, charts);
    const runCharts = showCharts();
    showLiveRun(controls, status, (runs) => runCharts.update(runs));
    return;
  }
  const input = el("input", {
    id: "run-files",
    class: "visually-hidden",
    type: "file",
    multiple: true,
    accept: ".jsonl",
    on: { change: () => openFiles(input) },
  });
  view.append(
    el("h2", {}, "How this model was trained"),
    provenance,
    el("h2", {}, "Metrics of a run"),
    el(
      "p",
      { class: "lead" },
      "Open the file metrics.jsonl of one run, or of several to compare them. This browser reads it; nothing is uploaded.",
    ),
    el(
      "div",
      { class: "toolbar" },
      el("label", { class: "button", for: "run-files" }, "Open metrics.jsonl"),
      input,
      // Not every browser lets a page read a file again.
      window.showOpenFilePicker ? button("Watch a run", chooseFile) : null,
    ),
    status,
    charts,
  );
  models.onChange(enter);
}

export async function enter() {
  if (!provenance || document.body.dataset.run) return;
  clearTimeout(timer);
  if (watched) readWatched();
  try {
    const model = await models.selected();
    if (model) showProvenance(await models.facts(model));
  } catch (error) {
    provenance.replaceChildren(el("p", { class: "status error" }, explain(error)));
  }
}

export function leave() {
  clearTimeout(timer);
}

function showProvenance(facts) {
  const source = facts.provenance;
  const figures = [
    ["Parameters", facts.parameters, format.scaled],
    ["Updates", source.steps, format.whole],
    ["Tokens read", source.tokens, format.whole],
    ["Work", source.flops, (value) => `${format.scaled(value)}FLOP`],
    ["Time", source.wall_seconds, format.seconds],
    ["Held-out loss", source.validation_loss, (value) => `${value.toFixed(3)} nats`],
    ["Bits per byte", source.bits_per_byte, (value) => value.toFixed(3)],
    ["Seed", source.seed, String],
  ];
  const known = figures.filter(([, value]) => value !== null && value !== undefined);
  provenance.replaceChildren(
    el(
      "dl",
      { class: "figures" },
      known.map(([name, value, write]) => figure(name, write(value))),
      figure("Digest of the training text", source.corpus_digest ?? "not known", true),
    ),
    source.recipe
      ? el(
          "details",
          {},
          el("summary", {}, "The whole recipe, as sealed with the model"),
          el("div", { class: "recipe" }, recipeTables(source.recipe)),
        )
      : el("p", { class: "lead" }, "The ingot does not record how it was trained."),
  );
}

function recipeTables(sections) {
  const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));
  return Object.entries(sections).map(([name, values]) => {
    const rows = Object.entries(values ?? {}).map(([key, value]) => [key, text(value)]);
    return table(name, ["setting", "value"], rows);
  });
}

// ---- Files that are read once

async function openFiles(input) {
  const files = [...input.files];
  if (!files.length) return;
  showStatus("Reading…");
  try {
    stopWatching();
    const runs = await Promise.all(files.map(readFile));
    input.value = "";
    const empty = runs.find((run) => !run.steps.length);
    if (empty) throw new Error(`${empty.name} holds no updates of a run.`);
    // Files of runs all have the same name.
    if (runs.length > 1) for (const [index, run] of runs.entries()) run.name = `run ${index + 1}`;
    await showCharts().update(runs);
    const sum = (count) => runs.reduce((total, run) => total + count(run), 0);
    const updates = format.whole(sum((run) => run.steps.length));
    const invalid = sum((run) => run.invalidLines);
    showStatus(`${updates} updates read${invalid ? `, ${invalid} invalid lines skipped` : ""}.`);
  } catch (error) {
    showStatus(error.message, true);
  }
}

async function readFile(file) {
  const run = newRun(file.name);
  await readMore(run, file);
  finish(run);
  return run;
}

// ---- A file that is read again as it grows

async function chooseFile() {
  let handle;
  try {
    const accept = { "application/jsonl": [".jsonl"] };
    const types = [{ description: "Metrics of a run", accept }];
    [handle] = await window.showOpenFilePicker({ types });
  } catch {
    return; // the dialog was closed
  }
  stopWatching();
  watched = { handle, run: newRun(handle.name), charts: showCharts() };
  readWatched();
}

async function readWatched() {
  const mine = watched;
  try {
    const before = mine.run.steps.length;
    await readMore(mine.run, await mine.handle.getFile());
    if (watched !== mine) return; // another file was chosen meanwhile
    const { steps } = mine.run;
    if (steps.length !== before) await mine.charts.update([mine.run]);
    const last = steps.at(-1);
    showStatus(
      last
        ? `Watching: update ${format.whole(last.step)}, loss ${last.loss.toFixed(3)}.`
        : "Watching: no update yet.",
    );
    timer = setTimeout(readWatched, INTERVAL_MS);
  } catch (error) {
    showStatus(`The file can no longer be read: ${error.message}`, true);
  }
}

function stopWatching() {
  clearTimeout(timer);
  watched = null;
}

function showCharts() {
  const runCharts = new RunCharts();
  charts.replaceChildren(runCharts.element);
  return runCharts;
}

function showStatus(text, isError = false) {
  status.textContent = text;
  status.classList.toggle("error", isError);
}
