// The practice questions: asked first, then measured, then judged.

import { explain } from "../shared/api.js";
import { button, el } from "../shared/elements.js";
import { measure } from "./measurements.js";
import * as progress from "./progress.js";

// Asks a question, unless it was answered, and shows what `reveal()` returns once it is.
export function askFirst(lesson, question, reveal) {
  const container = el("div", {});
  const showResult = () => container.replaceChildren(...reveal().filter(Boolean));
  if (progress.answerTo(question.id)) {
    showResult();
    return container;
  }
  const name = `question-${question.id}`;
  const choices = question.choices.map((choice, index) => {
    const id = `${name}-${index}`;
    const input = el("input", { id, type: "radio", name, value: choice });
    return el("div", { class: "choice" }, input, el("label", { for: id }, choice));
  });
  const hint = el("p", { class: "help", role: "status" });
  const answer = () => {
    const chosen = group.querySelector("input:checked");
    if (!chosen) {
      hint.textContent = "Choose an answer first.";
      return;
    }
    progress.setAnswer(question.id, { choice: chosen.value, digest: null });
    lesson.changed();
    showResult();
  };
  const submit = button("Answer, then measure", answer, { class: "primary" });
  const legend = el("legend", {}, question.ask);
  const group = el("fieldset", { class: "question" }, legend, choices, submit, hint);
  container.append(group);
  return container;
}

// The measurement and whether the answer was right.
export function result(lesson, question) {
  const given = progress.answerTo(question.id);
  const verdict = el("div", { class: "question", role: "status" });
  const measured = el("p", { class: "verdict" }, "Measuring…");
  verdict.append(
    el("p", { class: "asked" }, `${question.ask} You answered: ${given.choice}.`),
    measured,
  );
  measureNow(question, given, measured).then(() => {
    verdict.append(...judged(question, given.choice));
    if (!lesson.record.missing) {
      const evidence = lesson.record.evidence[question.id];
      verdict.append(el("p", { class: "help" }, `In the last ingot lesson: ${evidence}.`));
    }
    lesson.changed();
  });
  return verdict;
}

async function measureNow(question, given, shown) {
  try {
    const { text, digest, busy } = await measure(question.id);
    shown.textContent = `Measured now: ${text}.`;
    if (busy) shown.after(el("p", { class: "busy" }, busy));
    if (!given.digest) progress.setAnswer(question.id, { ...given, digest });
  } catch (error) {
    shown.textContent = `It could not be measured: ${explain(error)}`;
  }
}

function judged({ answer, why, wrong }, choice) {
  const said = (kind, verdict, reason) =>
    el("p", {}, el("b", { class: kind }, verdict), ` ${reason}`);
  if (choice === answer) return [said("right", `Right: ${answer}.`, why)];
  return [said("wrong", `Not ${choice}.`, wrong[choice]), said("right", `It is ${answer}.`, why)];
}
