// The practice questions: the learner answers first, then a measurement does; a score at the end.

import { explain } from "../api.js";
import { button, el } from "../dom.js";
import { measure } from "./evidence.js";

export function questions(all, record) {
  let right = 0;
  let answered = 0;
  const score = el("p", { class: "verdict", role: "status" });
  const answer = (question, picked) => {
    const good = picked === question.answer;
    right += good;
    answered += 1;
    if (answered === all.length) score.textContent = `Your score: ${right} of ${all.length}.`;
    return good;
  };
  return el(
    "section",
    { "aria-labelledby": "title-questions" },
    el("h2", { id: "title-questions" }, `${all.length} questions`),
    all.map((question, place) => ask(question, place + 1, record, answer)),
    score,
  );
}

function ask(question, number, record, answer) {
  const name = `question-${question.id}`;
  const proof = el("div", { role: "status" });
  const choices = question.choices.map((choice, place) => {
    const id = `${name}-${place}`;
    return el("div", { class: "choice" }, el("input", { id, type: "radio", name, value: choice }), el("label", { for: id }, choice));
  });
  const check = button("Answer", async () => {
    const picked = group.querySelector("input:checked");
    if (!picked) {
      proof.replaceChildren(el("p", { class: "help" }, "Choose one first."));
      return;
    }
    for (const input of group.querySelectorAll("input")) input.disabled = true;
    check.remove();
    const good = answer(question, picked.value);
    const measured = el("p", { class: "help" }, "Measuring…");
    proof.replaceChildren(el("p", { class: good ? "right" : "wrong" }, `${good ? "Right" : "No"}: ${question.answer}. ${question.why}`), measured);
    try {
      measured.textContent = `Measured now: ${await measure(question.id)}.`;
    } catch (error) {
      measured.textContent = explain(error);
    }
    if (!record.missing) proof.append(el("p", { class: "help" }, `In the lesson: ${record.evidence[question.id]}.`));
  });
  const group = el("fieldset", { class: "question" }, el("legend", {}, `${number}. ${question.ask}`), choices, check, proof);
  return group;
}
