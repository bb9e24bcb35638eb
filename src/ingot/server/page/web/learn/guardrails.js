// One prompt answered without a guardrail, and with a system prompt, a stop list and a grammar.

import { events, explain } from "../shared/api.js";
import { button, el, table } from "../shared/elements.js";
import * as models from "../shared/models.js";

const ANSWERS = 8;
const TOKENS = 16;

// example: { prompt, system, allowed, stop } of content.toml.
export function guardrails(example) {
  const shown = el("div", { "aria-live": "polite" });
  const status = el("p", { class: "help", role: "status" });
  const run = async () => {
    trigger.disabled = true;
    const rows = [];
    try {
      const model = await models.selected();
      const { chat } = await models.facts(model);
      for (const [name, change] of variants(example)) {
        status.textContent = `Asking with ${name}…`;
        const answers = await answersOf(model, chat, { ...example, ...change });
        rows.push(rowOf(name, answers, example));
        shown.replaceChildren(resultsOf(rows, example));
      }
    } catch (error) {
      shown.append(el("p", { class: "status error" }, explain(error)));
    }
    status.textContent = "";
    trigger.disabled = false;
  };
  const trigger = button(`Ask ${ANSWERS} times with each`, run, { class: "primary" });
  return el(
    "div",
    { class: "experiment" },
    el("p", { class: "help" }, "The prompt"),
    el("pre", {}, example.prompt),
    el("p", { class: "help" }, "The system prompt"),
    el("pre", {}, example.system.trim()),
    trigger,
    status,
    shown,
  );
}

// What each row adds to the bare prompt.
const variants = ({ allowed, stop, system }) => [
  ["no guardrail", { system: "" }],
  ["a system prompt", { system }],
  ["a stop list", { system: "", limits: { stop } }],
  ["a grammar", { system: "", limits: { structured_outputs: { choice: allowed } } }],
];

// One streamed request for all answers: the engine writes them in one batch.
async function answersOf(model, chat, { prompt, system, limits = {} }) {
  const body = { model: model.id, max_tokens: TOKENS, temperature: 1, seed: 0, n: ANSWERS };
  Object.assign(body, { stream: true }, limits);
  if (chat) {
    body.messages = [{ role: "user", content: prompt }];
    if (system) body.messages.unshift({ role: "system", content: system.trim() });
  } else body.prompt = system + prompt;
  const answers = Array(ANSWERS).fill("");
  const path = chat ? "v1/chat/completions" : "v1/completions";
  for await (const { choices } of events(path, body))
    for (const { index, text, delta } of choices) answers[index] += text ?? delta?.content ?? "";
  return answers;
}

const isAllowed = (text, allowed) => allowed.includes(text.trim().toLowerCase().replace(/\.$/, ""));

function rowOf(name, answers, { allowed, stop }) {
  const inOneLine = answers.filter((text) => !stop.some((each) => text.includes(each))).length;
  const kept = answers.filter((text) => isAllowed(text, allowed)).length;
  return [
    name,
    `${kept} of ${answers.length}`,
    `${inOneLine} of ${answers.length}`,
    el("code", {}, JSON.stringify(answers[0])),
  ];
}

const resultsOf = (rows, { allowed }) =>
  table(
    "The same prompt, with and without",
    ["with", allowed.join(" or "), "in one line", "the first answer"],
    rows,
  );
