// The charts and samples of one or several runs.

import { el } from "../shared/elements.js";
import * as format from "../shared/format.js";
import { LineChart } from "../shared/line_chart.js";

const CURVES = [
  ["Training loss, nats per token", "loss", {}],
  ["Tokens per second", "tokens_per_second", {}],
  ["Gradient norm", "gradient_norm", { log: true }],
  ["Learning rate, share of the full rate", "learning_rate", {}],
];
const HELD_OUT = "Held-out text, bits per byte";
const MAX_SAMPLES = 5; // per run, evenly spread

export class RunCharts {
  constructor() {
    this.charts = new Map(); // LineChart by its title
    this.plots = el("div", { class: "plots" });
    this.samples = el("div", {});
    this.element = el("div", {}, this.plots, this.samples);
  }

  async update(runs) {
    for (const [title, field, options] of CURVES) {
      // Each chart is a task of its own, so that the page stays responsive in between.
      await new Promise((resume) => setTimeout(resume));
      this.show(
        title,
        options,
        runs.map(({ name, steps }) => series(name, steps, field)),
      );
    }
    const evaluated = runs.filter((run) => run.evaluations.length > 1);
    if (evaluated.length) {
      const curves = evaluated.map(({ name, evaluations }) =>
        series(name, evaluations, "bits_per_byte"),
      );
      this.show(HELD_OUT, {}, curves);
    }
    this.samples.replaceChildren(...runs.flatMap(samplesOf));
  }

  show(title, options, curves) {
    if (!this.charts.has(title)) {
      const chart = new LineChart(title, { xName: "updates", ...options });
      this.charts.set(title, chart);
      this.plots.append(chart.element);
    }
    this.charts.get(title).update(curves);
  }
}

const series = (name, records, field) => ({
  name,
  xs: records.map((record) => record.step),
  ys: records.map((record) => Number(record[field] ?? Number.NaN)),
});

function samplesOf(run) {
  const last = run.samples.length - 1;
  const stride = Math.max(1, Math.ceil(run.samples.length / MAX_SAMPLES));
  const shown = run.samples.filter((_, index) => index % stride === 0 || index === last);
  if (!shown.length) return [];
  const figures = shown.map(({ step, prompt, text }) =>
    el(
      "figure",
      {},
      el("figcaption", {}, `after ${format.whole(step)} updates`),
      el("pre", {}, el("span", { class: "prompt" }, String(prompt)), text),
    ),
  );
  const title = el("h3", {}, `Samples written by ${run.name} during training`);
  return [el("section", { class: "samples" }, title, figures)];
}
