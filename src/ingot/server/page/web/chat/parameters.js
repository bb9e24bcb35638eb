// The settings of a request, each with an explanation, and the form to change them.

import { el } from "../shared/elements.js";

// `field` is the API's name. A value equal to `apiDefault` is left out of the request.
export const PARAMETERS = [
  {
    id: "temperature",
    field: "temperature",
    label: "Temperature",
    kind: "range",
    min: 0,
    max: 2,
    step: 0.05,
    initial: 0.7,
    apiDefault: 1,
    help: "How much chance decides: 0 always takes the likeliest next token, 1 follows the model’s own odds, more evens them out.",
  },
  {
    id: "max-tokens",
    field: "max_tokens",
    label: "Max tokens",
    kind: "number",
    min: 1,
    max: 1000000,
    step: 1,
    initial: 1024,
    apiDefault: null,
    help: "Longest answer. A token is a piece of a word; an answer may end before.",
  },
  {
    id: "top-p",
    field: "top_p",
    label: "Top-p",
    kind: "range",
    min: 0.05,
    max: 1,
    step: 0.05,
    initial: 0.95,
    apiDefault: 1,
    help: "Choose among the likeliest tokens that together have this probability. 1 allows all.",
  },
  {
    id: "top-k",
    field: "top_k",
    label: "Top-k",
    kind: "number",
    min: 0,
    max: 1000000,
    step: 1,
    initial: 0,
    apiDefault: 0,
    help: "Keep only this number of the likeliest tokens. 0 keeps all.",
  },
  {
    id: "min-p",
    field: "min_p",
    label: "Min-p",
    kind: "range",
    min: 0,
    max: 1,
    step: 0.01,
    initial: 0,
    apiDefault: 0,
    help: "Drop tokens less likely than this share of the likeliest one.",
  },
  {
    id: "repetition",
    field: "repetition_penalty",
    label: "Repetition penalty",
    kind: "range",
    min: 1,
    max: 2,
    step: 0.05,
    initial: 1,
    apiDefault: 1,
    help: "Above 1, tokens that occurred before become less likely.",
  },
  {
    id: "presence",
    field: "presence_penalty",
    label: "Presence penalty",
    kind: "range",
    min: -2,
    max: 2,
    step: 0.1,
    initial: 0,
    apiDefault: 0,
    help: "Subtracted once from the score of every token that was already generated.",
  },
  {
    id: "frequency",
    field: "frequency_penalty",
    label: "Frequency penalty",
    kind: "range",
    min: -2,
    max: 2,
    step: 0.1,
    initial: 0,
    apiDefault: 0,
    help: "Subtracted for each time that a token was generated.",
  },
  {
    id: "seed",
    field: "seed",
    label: "Seed",
    kind: "number",
    min: 0,
    max: 2 ** 53 - 1,
    step: 1,
    initial: "",
    apiDefault: null,
    help: "The same seed, prompt and settings give the same answer. If empty, every answer has a new one.",
  },
  {
    id: "stop-text",
    field: "stop",
    label: "Stop text",
    kind: "text",
    initial: "",
    apiDefault: null,
    help: "A text that ends the answer. \\n stands for a new line.",
  },
  {
    id: "system",
    field: null,
    label: "System prompt",
    kind: "area",
    initial: "",
    help: "What the model is told before the conversation: who it is, how it should answer.",
  },
  {
    id: "schema",
    field: null,
    label: "JSON schema",
    kind: "area",
    initial: "",
    help: "With a schema here, the answer is JSON that matches it.",
  },
];

const SHOWN = ["system", "temperature", "top-p", "max-tokens"]; // the others unfold

// Builds the form from stored settings; returns { read(), write(values) }. `read` returns every
// setting as a text, by its id.
export function buildForm(container, stored, onInput) {
  const inputs = new Map();
  const rows = new Map();
  for (const parameter of PARAMETERS) {
    const [row, input] = control(parameter, stored[parameter.id] ?? parameter.initial);
    rows.set(parameter.id, row);
    inputs.set(parameter.id, input);
    input.addEventListener("input", onInput);
  }
  const folded = PARAMETERS.map(({ id }) => id).filter((id) => !SHOWN.includes(id));
  const rowsOf = (ids) => ids.map((id) => rows.get(id));
  container.append(
    el("div", { class: "controls" }, rowsOf(SHOWN)),
    el(
      "details",
      {},
      el("summary", {}, "More settings"),
      el("div", { class: "controls" }, rowsOf(folded)),
    ),
  );
  return {
    read: () => Object.fromEntries(PARAMETERS.map(({ id }) => [id, inputs.get(id).value])),
    write(values) {
      for (const [id, value] of Object.entries(values)) {
        const input = inputs.get(id);
        if (!input) continue;
        input.value = value;
        input.dispatchEvent(new Event("input"));
      }
    },
  };
}

function control({ id, label, kind, min, max, step, help }, value) {
  const shared = { id, "aria-describedby": `${id}-help` };
  const inputmode = kind === "number" ? "numeric" : null;
  const input =
    kind === "area"
      ? el("textarea", { ...shared, rows: 3, spellcheck: "false" })
      : el("input", { ...shared, type: kind, min, max, step, inputmode, autocomplete: "off" });
  input.value = value;
  const row = el(
    "div",
    { class: kind === "area" ? "control wide" : "control" },
    el("label", { for: id }, label),
    el("div", { class: "field" }, input, kind === "range" ? valueOutput(input) : null),
    el("p", { id: `${id}-help`, class: "help" }, help),
  );
  return [row, input];
}

function valueOutput(input) {
  const output = el("output", { id: `${input.id}-value`, for: input.id });
  const update = () => {
    output.textContent = Number(input.value).toFixed(2);
  };
  input.addEventListener("input", update);
  update();
  return output;
}
