// What became of requests, by model and key: answers in time and late, and refusals with their
// reason.

import { el, table } from "../shared/elements.js";
import * as format from "../shared/format.js";

const COLUMNS = ["Model", "Key", "In time", "Since the start", "Late", "Refused"];
const REASONS = {
  objective_queue: "others before it",
  objective_prompt: "prompt too long to be in time",
  objective_token: "tokens too slow",
  queue_full: "queue full",
  rate_limit_exceeded: "limit per minute",
  grammars_busy: "grammars busy",
  file_limit: "limit of files",
  batch_limit: "limit of batches",
};

// entries: `outcomes` of /admin/activity. Returns a table, or null where there are none.
export function outcomes(entries) {
  if (!entries.length) return null;
  const caption = "In time and refused, by model and key";
  const rows = entries.map((each) => [
    each.model || "not read",
    each.key || "no key",
    each.attainment === null ? "–" : format.percent(each.attainment),
    format.whole(each.in_time),
    format.whole(each.late),
    refusals(each.refused),
  ]);
  return el(
    "div",
    { class: "objectives" },
    el("h3", {}, "In time and refused"),
    table(caption, COLUMNS, rows, { records: true }),
  );
}

// By reason, such as "3 queue full, 1 limit per minute".
function refusals(counts) {
  const parts = Object.entries(counts).map(
    ([reason, count]) => `${format.whole(count)} ${REASONS[reason] ?? reason}`,
  );
  return parts.join(", ") || "0";
}
