// Latency objectives of each model and how they are kept; absent where none is stated or asked.

import { el, table } from "../shared/elements.js";
import * as format from "../shared/format.js";

const KINDS = { ttft: "first token", itl: "between tokens" };
const COLUMNS = ["Model", "Objective", "In time", "Answers in time/s", "Late", "Refused", "A step"];

// Returns a table, or null where no model has an objective or was asked for one.
export function objectives(samples) {
  const stated = samples.all("ingot:objective_seconds");
  const kept = samples.all("ingot:objective_attainment");
  const models = [...new Set([...stated, ...kept].map(({ labels }) => labels.model_name))];
  if (!models.length) return null;
  const caption = "Objectives, kept in the last minute";
  const rows = models.map((model) => rowOf(samples, stated, model));
  return el(
    "div",
    { class: "objectives" },
    el("h3", {}, "Objectives"),
    table(caption, COLUMNS, rows, { records: true }),
  );
}

function rowOf(samples, stated, model) {
  const own = (name) => samples.all(name).filter(({ labels }) => labels.model_name === model);
  const value = (name) => own(name)[0]?.value;
  const late = own("ingot:objective_answers_total").find(({ labels }) => labels.outcome === "late");
  const share = value("ingot:objective_attainment");
  return [
    model,
    textOf(stated.filter(({ labels }) => labels.model_name === model)),
    Number.isFinite(share) ? format.percent(share) : "–",
    Number.isFinite(value("ingot:goodput_requests_per_second"))
      ? format.short(value("ingot:goodput_requests_per_second"))
      : "–",
    late ? format.whole(late.value) : "–",
    refusals(own("ingot:objective_refusals_total")),
    predictions(
      value("ingot:step_predicted_seconds_total"),
      value("ingot:step_measured_seconds_total"),
      value("ingot:step_prediction_error"),
    ),
  ];
}

function textOf(stated) {
  if (!stated.length) return "of keys or requests";
  return stated
    .map(
      ({ labels, value }) =>
        `${KINDS[labels.kind]} ${format.seconds(value)} (p${labels.percentile})`,
    )
    .join(", ");
}

// By reason, such as "3 queue, 1 prompt".
function refusals(entries) {
  const some = entries.filter(({ value }) => value > 0);
  return (
    some.map(({ labels, value }) => `${format.whole(value)} ${labels.reason}`).join(", ") || "0"
  );
}

// What all steps were predicted to take and took, and how far one is off in the mean.
function predictions(predicted, measured, error) {
  if (!measured) return "–";
  const off = Number.isFinite(error) ? `, off by ${format.percent(error)}` : "";
  return `${format.seconds(predicted)} predicted, ${format.seconds(measured)} measured${off}`;
}
