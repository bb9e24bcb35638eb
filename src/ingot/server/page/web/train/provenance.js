// How the served model was trained, as sealed with it.

import { el, figure, table } from "../shared/elements.js";
import * as format from "../shared/format.js";
import { LineChart } from "../shared/line_chart.js";

export function provenanceOf(facts) {
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
  return [
    el(
      "dl",
      { class: "figures" },
      known.map(([name, value, write]) => figure(name, write(value))),
      figure("Digest of this model", facts.digest, true),
      figure("Digest of the training text", source.corpus_digest ?? "not known", true),
    ),
    sealedCurves(facts),
    source.recipe
      ? el(
          "details",
          {},
          el("summary", {}, "The whole recipe, as sealed with the model"),
          el("div", { class: "recipe" }, recipeTables(source.recipe)),
        )
      : el("p", { class: "lead" }, "The ingot does not record how it was trained."),
  ].filter(Boolean);
}

// The curves of the run that made the model, which the ingot carries.
function sealedCurves({ name, provenance }) {
  const { training_curve: training, validation_curve: heldOut } = provenance;
  if (!training?.length) return null;
  const chart = new LineChart("Loss while this model was trained, nats per token", {
    xName: "updates",
  });
  const curve = (label, points, dashed) => ({
    name: `${name}, ${label}`,
    color: 0,
    dashed,
    xs: points.map(([step]) => step),
    ys: points.map(([, loss]) => loss),
  });
  const curves = [curve("training", training, false)];
  if (heldOut?.length) curves.push(curve("held out", heldOut, true));
  chart.update(curves);
  return chart.element;
}

function recipeTables(sections) {
  const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));
  return Object.entries(sections).map(([name, values]) => {
    const rows = Object.entries(values ?? {}).map(([key, value]) => [key, text(value)]);
    return table(name, ["setting", "value"], rows);
  });
}
