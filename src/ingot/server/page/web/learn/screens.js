// The screens of the lesson: the text, the question, the experiment that answers it, the result.

import { el } from "../shared/elements.js";
import { finish } from "./finish.js";
import { frozenWeight, learned, sealedMemory } from "./frozen_weight.js";
import {
  busyNote,
  largeModelCost,
  nextToken,
  phaseNeeds,
  phaseSpeeds,
  recordedTraining,
  recordedUpdate,
} from "./full_size.js";
import { guardrails } from "./guardrails.js";
import { oneWeight, oneWeightInDetail } from "./one_weight.js";
import { askFirst, result } from "./questions.js";
import { sealedBit } from "./sealed_bit.js";
import { systemDesign } from "./system_design.js";
import { paragraphs } from "./terms.js";

export { scoreScreen } from "./score.js";

// The experiments of each section, by its id in content.toml.
const EXPERIMENTS = {
  "one-weight": ({ content }) => [oneWeight(content.one_weight)],
  "frozen-weight": ({ content }) => [frozenWeight(content.one_weight, content.frozen_weight)],
  "sealed-memory": ({ content }) => [sealedMemory(content.one_weight)],
  "language-model": ({ record }) => [recordedTraining(record), nextToken(record)],
  "one-update": ({ record }) => [recordedUpdate(record)],
  "sealed-model": ({ content: { one_weight: example } }) => [
    sealedBit(learned(example, example.steps)),
  ],
  "side-by-side": ({ record }) => [phaseNeeds(record), largeModelCost(record)],
  users: ({ record }) => [phaseSpeeds(record)],
  cache: () => [],
  "system-design": ({ content, record }) => [
    systemDesign(content.system_design, record),
    busyNote(record, "switches"),
  ],
  guardrails: ({ content }) => [guardrails(content.guardrails)],
};
const DETAILS = {
  "one-weight": ({ content }) => oneWeightInDetail(content.one_weight),
};

// Returns the elements of a section. What is measured is shown once its question is answered.
export function sectionScreen(lesson, section) {
  const { content } = lesson;
  const measured = () => [
    ...paragraphs(content, section.try_it),
    ...EXPERIMENTS[section.id](lesson),
    el("div", { class: "after" }, paragraphs(content, section.after)),
    section.more ? more(lesson, section) : null,
    section === content.sections.at(-1) ? finish() : null,
  ];
  const text = paragraphs(content, section.text);
  if (!section.question) return [...text, ...measured()];
  const question = content.questions.find(({ id }) => id === section.question);
  return [...text, askFirst(lesson, question, () => [result(lesson, question), ...measured()])];
}

function more(lesson, section) {
  return el(
    "details",
    { class: "more" },
    el("summary", {}, "If you want to know more"),
    paragraphs(lesson.content, section.more),
    DETAILS[section.id]?.(lesson) ?? [],
  );
}
