// One prompt answered without a guardrail, and with a system prompt, a stop list and a grammar.

import { explain, json } from "../shared/api.js";
import { button, el, table } from "../shared/elements.js";
import * as models from "../shared/models.js";

const ANSWERS = 8;
const TOKENS = 16;

// example: { prompt, system, allowed, stop } of content.toml.
export function guardrails(example) {
  const shown = el("div", { "aria-live": "polite" });
  const run = async () => {
    trigger.disabled = true;
    const rows = [];
    try {
      const model = await models.selected();
      const { chat } = await models.facts(model);
      for (const [name, change] of variants(example)) {
        const answers = await answersOf(model, chat, { ...example, ...change });
        rows.push(rowOf(name, answers, example));
        shown.replaceChildren(resultsOf(rows, example));
      }
    } catch (error) {
      shown.append(el("p", { class: "status error" }, explain(error)));
    }
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

const answersOf = (model, chat, question) =>
  Promise.all(Array.from({ length: ANSWERS }, (_, seed) => answer(model, chat, seed, question)));

async function answer(model, chat, seed, { prompt, system, limits = {} }) {
  const sampling = { model: model.id, max_tokens: TOKENS, temperature: 1, seed, ...limits };
  if (!chat) {
    const body = { ...sampling, prompt: system + prompt };
    return (await json("v1/completions", { body })).choices[0].text;
  }
  const messages = [{ role: "user", content: prompt }];
  if (system) messages.unshift({ role: "system", content: system.trim() });
  const { choices } = await json("v1/chat/completions", { body: { ...sampling, messages } });
  return choices[0].message.content ?? "";
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
