// The view Learn: the lesson, from the same text as `ingot lesson`, with live experiments.

import { explain, json } from "../shared/api.js";
import { el } from "../shared/elements.js";
import { readRecord } from "../shared/lesson_record.js";
import { optimizationSwitches } from "../shared/optimization_switches.js";
import { frozenWeight } from "./frozen_weight.js";
import { largeModelCost, nextToken, phaseComparison, recordedUpdate } from "./full_size.js";
import { oneWeight } from "./one_weight.js";
import { questions } from "./questions.js";

// The experiments of each section, by its id in content.toml.
const EXPERIMENTS = {
  "one-weight": (content) => [oneWeight(content.one_weight)],
  "frozen-weight": (content) => [frozenWeight(content.one_weight, content.frozen_weight)],
  "full-size": (_, record) => [recordedUpdate(record), nextToken(record)],
  "side-by-side": (_, record) => [phaseComparison(record), largeModelCost(record)],
  "system-design": (_, record) => [optimizationSwitches(record)],
};

export async function open(view) {
  view.append(el("p", { class: "status" }, "Loading…"));
  try {
    const content = await json("lesson/content");
    const record = await readRecord().catch((error) => ({ missing: explain(error) }));
    const parts = [
      el("h2", { class: "large" }, content.title),
      ...content.intro
        .trim()
        .split("\n\n")
        .map((text) => el("p", { class: "lead" }, text)),
      record.missing
        ? el(
            "p",
            { class: "notice" },
            `${record.missing}. Until then the experiments that train are left out here; all others run.`,
          )
        : null,
      ...content.sections.map((section) => sectionOf(section, content, record)),
      questions(content.questions, record),
    ];
    view.replaceChildren(...parts.filter(Boolean));
  } catch (error) {
    view.replaceChildren(el("p", { class: "status error" }, explain(error)));
  }
}

function sectionOf(section, content, record) {
  const paragraphs = (texts) => texts.map((text) => el("p", {}, text));
  return el(
    "section",
    { id: `learn-${section.id}`, "aria-labelledby": `title-${section.id}` },
    el("h2", { id: `title-${section.id}` }, section.title),
    ...paragraphs(section.text),
    ...EXPERIMENTS[section.id](content, record),
    el("div", { class: "after" }, ...paragraphs(section.after)),
    section.more
      ? el(
          "details",
          { class: "more" },
          el("summary", {}, "If you want to know more"),
          ...paragraphs(section.more),
        )
      : null,
  );
}
