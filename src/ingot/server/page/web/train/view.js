// The view Train: how the served model was trained, and runs opened from their metrics.jsonl.

import { explain } from "../shared/api.js";
import { button, el } from "../shared/elements.js";
import { explained } from "../shared/explained.js";
import * as format from "../shared/format.js";
import * as models from "../shared/models.js";
import { loadStyles } from "../shared/stylesheet.js";
import { showLiveRun } from "./live_run.js";
import { newRun, readMore } from "./metrics_file.js";
import { fileInput, readRuns } from "./open_runs.js";
import { ownModel } from "./own_model.js";
import { provenanceOf } from "./provenance.js";
import { RunCharts } from "./run_charts.js";
import { runTable } from "./run_table.js";

const INTERVAL_MS = 2000; // between readings of a file that is watched

const MEANINGS = {
  Updates: "How often the weights were changed, each time by a small step that lowers the loss.",
  "Tokens read": "Pieces of text that the model has learned from.",
  Loss: "The mean surprise at the token that came next, in nats. Less is better; 0 is certainty.",
  "Held-out loss":
    "The same on text that was kept out of training: it shows what was learned, not what was memorised.",
  "Bits per byte":
    "The held-out loss for each byte of text. It compares models whose tokens differ.",
  Digest: "A number computed from all of the data. One changed bit gives another.",
};

let provenance = null;
let charts = null; // the container
let status = null;
let shownFacts = null; // of the served model
let watched = null; // { handle, run, show } of a file that is read as it grows
let timer = null;

export function open(view) {
  provenance = el("div", {});
  charts = el("div", { class: "runs" });
  status = el("p", { class: "status", role: "status" });
  view.classList.add("train");
  loadStyles("train/train.css");
  if (document.body.dataset.run) {
    const controls = el("div", { class: "toolbar" });
    view.append(el("h2", {}, document.body.dataset.run), controls, status, charts);
    const runCharts = new RunCharts();
    charts.append(runCharts.element);
    showLiveRun(controls, status, (runs) => runCharts.update(runs));
    return;
  }
  view.append(
    el("h2", {}, "How this model was trained"),
    provenance,
    explained(MEANINGS),
    ownModel(),
    el("h2", {}, "Runs"),
    el(
      "p",
      { class: "lead" },
      "A run is the folder that ingot train writes. Open its file metrics.jsonl, several, or a folder of runs to compare them. This browser reads them; nothing is uploaded.",
    ),
    el(
      "div",
      { class: "toolbar" },
      fileInput("run-files", "Open metrics.jsonl", {}, openFiles),
      fileInput("run-folder", "Open a folder of runs", { folder: true }, openFiles),
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
    if (!model || model.digest === shownFacts?.digest) return;
    shownFacts = await models.facts(model);
    provenance.replaceChildren(...provenanceOf(shownFacts));
  } catch (error) {
    provenance.replaceChildren(el("p", { class: "status error" }, explain(error)));
  }
}

export function leave() {
  clearTimeout(timer);
}

// ---- Files that are read once

async function openFiles(files) {
  if (!files.length) {
    showStatus("There is no metrics.jsonl in it.", true);
    return;
  }
  showStatus("Reading…");
  try {
    stopWatching();
    const runs = await readRuns(files);
    await showRuns(runs)();
    const sum = (count) => runs.reduce((total, run) => total + count(run), 0);
    const updates = format.whole(sum((run) => run.steps.length));
    const invalid = sum((run) => run.invalidLines);
    showStatus(`${updates} updates read${invalid ? `, ${invalid} invalid lines skipped` : ""}.`);
  } catch (error) {
    showStatus(error.message, true);
  }
}

// Makes charts and a table of runs; returns what draws them, also after they have grown.
function showRuns(runs) {
  const runCharts = new RunCharts();
  const compared = el("div", { class: "compare" });
  charts.replaceChildren(compared, runCharts.element);
  const draw = async () => {
    compared.replaceChildren(runTable(runs, shownFacts, draw));
    await runCharts.update(runs, shownFacts);
  };
  return draw;
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
  const run = newRun(handle.name);
  watched = { handle, run, show: showRuns([run]) };
  readWatched();
}

async function readWatched() {
  const mine = watched;
  try {
    const before = mine.run.steps.length;
    await readMore(mine.run, await mine.handle.getFile());
    if (watched !== mine) return; // another file was chosen meanwhile
    const { steps } = mine.run;
    if (steps.length !== before) await mine.show();
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

function showStatus(text, isError = false) {
  status.textContent = text;
  status.classList.toggle("error", isError);
}
