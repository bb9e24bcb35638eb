// The view Two phases: one model, an update of a copy of it at the left, requests to it at the right.

import { explain, json } from "../shared/api.js";
import { button, el } from "../shared/elements.js";
import * as format from "../shared/format.js";
import { phaseTable, readRecord } from "../shared/lesson_record.js";
import * as models from "../shared/models.js";
import { isStill } from "../shared/motion.js";
import { loadStyles } from "../shared/stylesheet.js";
import { Idle } from "./idle.js";
import { MemoryScale } from "./memory_bar.js";
import { factsTable } from "./phase_facts.js";
import { RequestColumn } from "./request_column.js";
import { UpdateColumn } from "./update_column.js";

const SVG = "http://www.w3.org/2000/svg";
const FACES = [
  ["top", "M9 12 17 3h20l-6 9z"],
  ["front", "M9 12h22l4 14H3z"],
  ["side", "m31 12 6-9 5 13-7 10z"],
];

const WIDE = "(min-width: 56rem)"; // the columns stand side by side
const DRAWN = "What moves now is a drawing. Show both, and all of it is measured.";

let parts = null;
let shownDigest = null;

export function open(view) {
  const scale = new MemoryScale();
  const left = new UpdateColumn(scale);
  const right = new RequestColumn(scale);
  const status = el("p", { class: "status", role: "status" });
  const sum = el("p", { class: "break-even" });
  const figures = el("div", {});
  const name = el("p", {}, el("span", { class: "name" }, models.current()?.id ?? ""));
  const drawn = el("p", { class: "help drawn" }, isStill() ? "" : DRAWN);
  const play = button("Show both", () => showBoth(play), { class: "primary", id: "phase-play" });
  const origin = el(
    "div",
    { class: "origin" },
    el("div", { class: "sealed" }, ingotPicture(), name, play),
    drawn,
    el("div", { class: "stem", "aria-hidden": "true" }),
    el(
      "div",
      { class: "branches", "aria-hidden": "true" },
      el("span", {}, "a copy"),
      el("span", {}, "itself, locked"),
    ),
  );
  const idle = new Idle([left, right]);
  parts = { left, right, status, sum, figures, name, drawn, idle };
  right.onResult = showBreakEven;
  for (const start of [play, left.start, right.start])
    start.addEventListener("click", () => {
      drawn.remove();
      idle.end();
    });
  const details = el(
    "details",
    { class: "in-figures" },
    el("summary", {}, "In figures, and as the lesson measured it"),
    figures,
  );
  view.classList.add("phases");
  loadStyles("phases/phases.css").then(() =>
    view.append(
      el("h2", {}, "One model, two phases"),
      el(
        "p",
        { class: "lead" },
        "Training writes the weights. Inference only reads them. Every number here is measured now.",
      ),
      status,
      origin,
      el("div", { class: "columns" }, left.element, right.element),
      sum,
      details,
    ),
  );
  models.onChange(enter);
}

export async function enter() {
  if (!parts) return;
  parts.idle.start();
  try {
    const model = await models.selected();
    if (!model || model.digest === shownDigest) return;
    const facts = await models.facts(model);
    showName(facts);
    const picture = await json("phases/weights", { body: { model: model.id } });
    shownDigest = model.digest;
    parts.facts = facts;
    parts.left.show(picture, facts);
    parts.figures.replaceChildren(factsTable(facts), await recordedPhases());
    await parts.left.showText(model);
    await parts.right.show(picture, facts);
    showStatus("");
  } catch (error) {
    showStatus(explain(error), true);
  }
}

function showName({ name, parameters, digest }) {
  const details = `${format.scaled(parameters)} weights, digest ${digest.slice(0, 8)}`;
  parts.name.replaceChildren(
    el("span", { class: "name" }, name),
    el("br"),
    el("span", { class: "help" }, details),
  );
}

export function leave() {
  parts?.idle.stop();
}

async function showBoth(play) {
  play.disabled = true;
  for (const column of [parts.left, parts.right]) {
    // On a phone the columns lie below each other.
    if (!matchMedia(WIDE).matches) column.element.scrollIntoView({ block: "start" });
    await column.run();
  }
  play.disabled = false;
}

function ingotPicture() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 44 28");
  svg.setAttribute("class", "logo");
  svg.setAttribute("aria-hidden", "true");
  for (const [name, d] of FACES) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", name);
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}

async function recordedPhases() {
  try {
    const record = await readRecord();
    const { name, cores } = record.machine;
    const when = `Measured ${record.measured_at} on ${name}, ${cores} cores, with the lesson’s small model.`;
    return el("div", {}, el("p", { class: "help" }, when), phaseTable(record.phases));
  } catch (error) {
    return el("p", { class: "lead" }, explain(error));
  }
}

// secondsEach: of the machine, for one user's answer.
function showBreakEven(secondsEach) {
  const { wall_seconds: trained } = parts.facts.provenance;
  parts.sum.textContent = trained
    ? `Training took ${format.seconds(trained)}, once. An answer now took ${format.seconds(secondsEach)} of this machine: serving has taken as long as training after ${format.whole(trained / secondsEach)} answers.`
    : `An answer now took ${format.seconds(secondsEach)} of this machine. The model does not record how long it was trained.`;
}

function showStatus(text, isError = false) {
  parts.status.textContent = text;
  parts.status.classList.toggle("error", isError);
}
