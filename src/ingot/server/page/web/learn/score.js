// The screen after the last question: the score, and a line that names the model of the answers.

import { copyText } from "../shared/clipboard.js";
import { button, el } from "../shared/elements.js";
import * as progress from "./progress.js";

export function scoreScreen(lesson) {
  const container = el("div", { role: "status" });
  const render = () => container.replaceChildren(...scoreOf(lesson));
  render();
  // The screen is kept while others are shown; an answer may have come meanwhile.
  new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) render();
  }).observe(container);
  return container;
}

function scoreOf({ content, go }) {
  const { questions } = content;
  const answers = questions.map(({ id }) => progress.answerTo(id));
  const right = questions.filter(({ answer }, index) => answers[index]?.choice === answer).length;
  const open = questions.filter((_, index) => !answers[index]);
  if (open.length) {
    const sections = open.map(({ id }) => content.sections.find(({ question }) => question === id));
    return [
      el("p", {}, `${open.length} of ${questions.length} questions are still open:`),
      el(
        "ul",
        { class: "open-questions" },
        sections.map(({ id, title }) =>
          el(
            "li",
            {},
            button(title, () => go(id)),
          ),
        ),
      ),
    ];
  }
  const score = el("p", { class: "score" }, `${right} of ${questions.length} answers right.`);
  const digests = new Set(answers.map(({ digest }) => digest));
  const [digest] = digests;
  if (digests.size > 1 || !digest) {
    const reason =
      "The answers were not all measured on one model, so no line names it. Start again to earn one.";
    return [score, el("p", { class: "help" }, reason)];
  }
  const line = Object.entries({
    right,
    total: questions.length,
    date: new Date().toLocaleDateString("sv"), // year-month-day
    digest,
  }).reduce((text, [name, value]) => text.replace(`{${name}}`, value), content.certificate);
  return [
    score,
    ...content.score.text.map((text) => el("p", {}, text)),
    el("pre", { class: "certificate", tabindex: "0", "aria-label": "Certificate" }, line),
    copyButton(line),
  ];
}

function copyButton(line) {
  const copy = button("Copy the line", async () => {
    await copyText(line);
    copy.textContent = "Copied";
  });
  return copy;
}
