// The practice questions: the learner answers, then a measurement does; a score at the end.

import { explain } from "../shared/api.js";
import { button, el } from "../shared/elements.js";
import { measure } from "./measurements.js";

export function questions(all, record) {
  let right = 0;
  let answered = 0;
  const score = el("p", { class: "verdict", role: "status" });
  const onAnswer = (isRight) => {
    right += isRight;
    answered += 1;
    if (answered === all.length) score.textContent = `Your score: ${right} of ${all.length}.`;
  };
  return el(
    "section",
    { "aria-labelledby": "title-questions" },
    el("h2", { id: "title-questions" }, `${all.length} questions`),
    all.map((question, index) => questionForm(question, index + 1, record, onAnswer)),
    score,
  );
}

function questionForm(question, number, record, onAnswer) {
  const name = `question-${question.id}`;
  const explanation = el("div", { role: "status" });
  const choices = question.choices.map((choice, index) => {
    const id = `${name}-${index}`;
    const input = el("input", { id, type: "radio", name, value: choice });
    return el("div", { class: "choice" }, input, el("label", { for: id }, choice));
  });
  const check = async () => {
    const chosen = group.querySelector("input:checked");
    if (!chosen) {
      explanation.replaceChildren(el("p", { class: "help" }, "Choose an answer first."));
      return;
    }
    for (const input of group.querySelectorAll("input")) input.disabled = true;
    submit.remove();
    const isRight = chosen.value === question.answer;
    onAnswer(isRight);
    const measured = el("p", { class: "help" }, "Measuring…");
    explanation.replaceChildren(
      el(
        "p",
        { class: isRight ? "right" : "wrong" },
        `${isRight ? "Right" : "No"}: ${question.answer}. ${question.why}`,
      ),
      measured,
    );
    try {
      measured.textContent = `Measured now: ${await measure(question.id)}.`;
    } catch (error) {
      measured.textContent = explain(error);
    }
    if (record.missing) return;
    explanation.append(
      el("p", { class: "help" }, `In the lesson: ${record.evidence[question.id]}.`),
    );
  };
  const submit = button("Answer", check);
  const legend = el("legend", {}, `${number}. ${question.ask}`);
  const group = el("fieldset", { class: "question" }, legend, choices, submit, explanation);
  return group;
}
