// Runs from files on this computer: read once, or watched while they grow.

import { el } from "../shared/elements.js";
import { finish, newRun, readMore } from "./metrics_file.js";

const METRICS = "metrics.jsonl";

// A hidden input for files and the label that opens it.
// folder: whether a whole folder is chosen, whose runs are found by their files' names.
export function fileInput(id, text, { folder = false }, onFiles) {
  const input = el("input", {
    id,
    class: "visually-hidden",
    type: "file",
    multiple: true,
    accept: folder ? null : ".jsonl",
    webkitdirectory: folder,
    on: {
      change: () => {
        const files = [...input.files].filter((file) => !folder || file.name === METRICS);
        onFiles(files);
        input.value = "";
      },
    },
  });
  return [el("label", { class: "button", for: id }, text), input];
}

// Reads whole files. A run is called as its folder, else as its record says, else as the file.
export async function readRuns(files) {
  const runs = await Promise.all(files.map(readRun));
  const empty = runs.find((run) => !run.steps.length);
  if (empty) throw new Error(`${empty.name} holds no updates of a run.`);
  return distinct(runs);
}

async function readRun(file) {
  const folder = file.webkitRelativePath.split("/").at(-2);
  const run = newRun(folder ?? file.name, { fixed: folder !== undefined });
  await readMore(run, file);
  finish(run);
  return run;
}

// Gives runs of one name numbers.
function distinct(runs) {
  const counts = new Map();
  for (const run of runs) counts.set(run.name, (counts.get(run.name) ?? 0) + 1);
  const given = new Map();
  for (const run of runs) {
    if (counts.get(run.name) === 1) continue;
    const number = (given.get(run.name) ?? 0) + 1;
    given.set(run.name, number);
    run.name = `${run.name} ${number}`;
  }
  return runs;
}
