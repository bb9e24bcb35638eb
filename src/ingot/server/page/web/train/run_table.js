// Runs side by side: renamed here, compared by bits per byte, which no tokenizer changes.

import { el, table } from "../shared/elements.js";
import * as format from "../shared/format.js";
import { sealedAt } from "./run_events.js";

const COLUMNS = [
  "Run",
  "Bits per byte, held out",
  "Held-out loss",
  "Updates",
  "Tokens",
  "Weights",
  "Skipped",
];

// onRename: called after a run got another name.
export function runTable(runs, facts, onRename) {
  const scores = runs.map(bestBits);
  const best = Math.min(...scores.filter(Number.isFinite));
  const order = runs
    .map((_, index) => index)
    .sort((a, b) => (scores[a] || 1e9) - (scores[b] || 1e9));
  const rows = order.map((index) => {
    const run = runs[index];
    const bits = scores[index];
    const isBest = runs.length > 1 && bits === best;
    return [
      nameOf(run, facts, onRename),
      el(
        "span",
        isBest ? { class: "best" } : {},
        `${Number.isFinite(bits) ? bits.toFixed(4) : "–"}${isBest ? ", the best" : ""}`,
      ),
      least(run, "loss")?.toFixed(4) ?? "–",
      format.whole(run.steps.at(-1).step),
      run.steps.at(-1).tokens ? format.scaled(run.steps.at(-1).tokens) : "–",
      run.parameters ? format.scaled(run.parameters) : "–",
      format.whole(run.skippedUpdates),
    ];
  });
  return table("Runs, the best first", COLUMNS, rows, { records: true });
}

const bestBits = (run) => least(run, "bits_per_byte") ?? Number.NaN;

function least(run, field) {
  const values = run.evaluations.map((each) => each[field]).filter(Number.isFinite);
  return values.length ? Math.min(...values) : null;
}

function nameOf(run, facts, onRename) {
  const input = el("input", {
    type: "text",
    class: "run-name",
    value: run.name,
    maxlength: 60,
    "aria-label": `Name of the run ${run.name}`,
    on: {
      change: () => {
        run.name = input.value.trim() || run.name;
        run.fixed = true;
        onRename();
      },
    },
  });
  if (sealedAt(run, facts) === null) return input;
  const link = el("a", { href: "#serve" }, `served here as ${facts.name}`);
  return el("span", {}, input, el("span", { class: "help" }, link));
}
