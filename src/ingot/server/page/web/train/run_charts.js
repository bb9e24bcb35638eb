// The charts and samples of one or several runs.

import { el } from "../shared/elements.js";
import { LineChart } from "../shared/line_chart.js";
import { marksOf } from "./run_events.js";
import { SampleTimeline } from "./sample_timeline.js";

const CURVES = [
  ["Tokens per second", "tokens_per_second", {}],
  ["Gradient norm", "gradient_norm", { log: true }],
  ["Learning rate, share of the full rate", "learning_rate", {}],
];
const UNITS = { loss: "Loss, nats per token", bits_per_byte: "Loss, bits per byte" };

export class RunCharts {
  constructor() {
    this.charts = new Map(); // LineChart by what it shows
    this.timelines = new Map(); // SampleTimeline by run
    this.plots = el("div", { class: "plots" });
    this.samples = el("div", {});
    this.element = el("div", {}, this.plots, this.samples);
  }

  // facts: of the served model, or null; its update is marked on the curve of its run.
  async update(runs, facts = null) {
    const field = unitOf(runs);
    const losses = runs.flatMap((run, color) => lossCurves(run, color, field));
    const marks =
      runs.length === 1 ? marksOf(runs[0], facts) : runs.flatMap((run) => sealedMarks(run, facts));
    this.show("loss", UNITS[field], { wide: true }, losses, marks);
    for (const [title, name, options] of CURVES) {
      // Each chart is a task of its own, so that the page stays responsive in between.
      await new Promise((resume) => setTimeout(resume));
      const curves = runs.map((run, color) => series(run.name, run.steps, name, color));
      this.show(name, title, options, curves, []);
    }
    for (const run of runs) {
      if (!this.timelines.has(run)) this.timelines.set(run, new SampleTimeline());
      this.timelines.get(run).show(run);
    }
    const elements = runs.map((run) => this.timelines.get(run).element);
    if (this.samples.childElementCount !== elements.length)
      this.samples.replaceChildren(...elements);
  }

  show(key, title, options, curves, marks) {
    if (!this.charts.has(key)) {
      const chart = new LineChart(title, { xName: "updates", ...options });
      this.charts.set(key, chart);
      this.plots.append(chart.element);
    }
    this.charts.get(key).update(curves, { marks, title });
  }
}

// Runs of different tokenizers compare in bits per byte alone.
function unitOf(runs) {
  const known = runs.every(({ steps }) => Number.isFinite(steps.at(-1)?.bits_per_byte));
  return runs.length > 1 && known ? "bits_per_byte" : "loss";
}

function lossCurves(run, color, field) {
  const training = series(`${run.name}, training`, run.steps, field, color);
  if (!run.evaluations.length) return [training];
  const heldOut = series(`${run.name}, held out`, run.evaluations, field, color);
  return [training, { ...heldOut, dashed: true }];
}

const sealedMarks = (run, facts) => marksOf(run, facts).filter(({ kind }) => kind === "sealed");

const series = (name, records, field, color) => ({
  name,
  color,
  xs: records.map((record) => record.step),
  ys: records.map((record) => Number(record[field] ?? Number.NaN)),
});
