// What settings of the switches gave: who was answered in time, goodput and cost.

import { el, table } from "../shared/elements.js";
import * as format from "../shared/format.js";

// results: the newest first; each { label, seconds, users, objective, inTime, cost, firstToken,
// gap, busy }.
export function resultList(results) {
  const goodputs = results.map((each) => count(each) / each.seconds);
  const most = Math.max(...goodputs);
  const items = results.map((each, index) => {
    const bar = el("span", { class: "bar", "aria-hidden": "true" });
    bar.style.width = `${most ? (100 * goodputs[index]) / most : 0}%`;
    return el(
      "li",
      {},
      el("p", { class: "setting" }, each.label),
      el(
        "p",
        { class: "people", "aria-hidden": "true" },
        each.inTime.map((kept) => el("i", { class: kept ? "kept" : null })),
      ),
      el("p", {}, `${count(each)} of ${each.users} in time`),
      el("p", { class: "goodput" }, bar),
      el(
        "p",
        {},
        el("b", {}, `${format.short(goodputs[index])}/s`),
        " goodput · ",
        el("b", {}, format.short(each.cost)),
        " for a million tokens",
      ),
      el(
        "p",
        { class: "help" },
        `First token after ${format.seconds(each.firstToken)}, then one every ${format.seconds(each.gap)}. Asked for: ${format.seconds(each.objective.first)} and ${format.seconds(each.objective.gap)}.`,
      ),
      each.busy &&
        el(
          "p",
          { class: "busy" },
          `The machine is busy: this took ${format.seconds(each.seconds)} and ${format.seconds(each.busy)}. The shorter time is shown.`,
        ),
    );
  });
  return el("ol", { class: "served-loads" }, items);
}

const count = ({ inTime }) => inTime.filter(Boolean).length;

// The recorded settings and loads; null without a record.
export function recordedTables(record) {
  if (record.missing) return null;
  const { price_per_hour: price } = record;
  const rowOf = (name, { timing }) => [
    name,
    `${timing.in_time} of ${timing.answers}`,
    `${format.short(timing.in_time / timing.seconds)}/s`,
    format.short(((price / 3600) * timing.seconds * 1e6) / timing.tokens),
  ];
  const named = ({ switches }) =>
    Object.keys(switches)
      .filter((name) => switches[name])
      .join(" + ") || "all off";
  const columns = ["in time", "goodput", "cost"];
  const { load } = record.switches[0];
  const objective = `${format.seconds(load.objective.ttft_s)} and ${format.seconds(load.objective.itl_s)}`;
  return el(
    "details",
    {},
    el("summary", {}, "As ingot lesson recorded it"),
    table(
      `${load.users} people, objective ${objective}, on ${format.scaled(record.switches_parameters)} weights; cost of a million tokens at ${price} an hour`,
      ["switches", ...columns],
      record.switches.map((each) => rowOf(named(each), each)),
    ),
    table(
      "Every switch on, more people at once",
      ["people", ...columns],
      record.loads.map((each) => rowOf(String(each.load.users), each)),
    ),
  );
}
