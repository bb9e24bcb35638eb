// What can be set, each in plain words; and the form for it.

import { el } from "../dom.js";

// `field` is the API's name; a value equal to `rest` is left out of the request.
export const PARAMETERS = [
  { id: "temperature", field: "temperature", label: "Temperature", kind: "range", min: 0, max: 2, step: 0.05, start: 0.7, rest: 1,
    help: "How daring: 0 always takes the likeliest token, 1 follows the model’s own odds, more is wilder." },
  { id: "max-tokens", field: "max_tokens", label: "Longest answer", kind: "number", min: 1, max: 1000000, step: 1, start: 200, rest: null,
    help: "In tokens; a token is a piece of a word." },
  { id: "top-p", field: "top_p", label: "Top-p", kind: "range", min: 0.05, max: 1, step: 0.05, start: 1, rest: 1,
    help: "Keep only the likeliest tokens that together hold this share of the odds. 1 keeps all." },
  { id: "top-k", field: "top_k", label: "Top-k", kind: "number", min: 0, max: 1000000, step: 1, start: 0, rest: 0,
    help: "Keep only so many of the likeliest tokens. 0 keeps all." },
  { id: "min-p", field: "min_p", label: "Min-p", kind: "range", min: 0, max: 1, step: 0.01, start: 0, rest: 0,
    help: "Drop tokens less likely than this share of the likeliest one." },
  { id: "repetition", field: "repetition_penalty", label: "Against repeating", kind: "range", min: 1, max: 2, step: 0.05, start: 1, rest: 1,
    help: "Above 1, tokens that occurred before become less likely." },
  { id: "presence", field: "presence_penalty", label: "Presence penalty", kind: "range", min: -2, max: 2, step: 0.1, start: 0, rest: 0,
    help: "Taken off the score of every token already written, once." },
  { id: "frequency", field: "frequency_penalty", label: "Frequency penalty", kind: "range", min: -2, max: 2, step: 0.1, start: 0, rest: 0,
    help: "The same, for every time it was written." },
  { id: "seed", field: "seed", label: "Seed", kind: "number", min: 0, max: 2 ** 53 - 1, step: 1, start: "", rest: null,
    help: "The same seed, text and settings give the same answer. Empty draws a new one each time." },
  { id: "stop-text", field: "stop", label: "Stop at", kind: "text", start: "", rest: null,
    help: "A text that ends the answer. \\n stands for a new line." },
  { id: "system", field: null, label: "Instruction", kind: "area", start: "",
    help: "What a chat’s model is told beforehand." },
  { id: "schema", field: null, label: "JSON schema", kind: "area", start: "",
    help: "Paste a schema, and the answer is JSON that follows it, always." },
];

const FIRST = 2; // shown at once; the others unfold

// Builds the form; returns a function that reads it, and one that says whether it can be used.
export function build(place, saved, changed) {
  const inputs = new Map();
  const rows = PARAMETERS.map((parameter) => {
    const value = saved[parameter.id] ?? parameter.start;
    const [row, input] = control(parameter, value);
    inputs.set(parameter.id, input);
    input.addEventListener("input", changed);
    return row;
  });
  place.append(
    el("div", { class: "controls" }, rows.slice(0, FIRST)),
    el("details", { id: "more" }, el("summary", {}, "More settings"), el("div", { class: "controls" }, rows.slice(FIRST))),
  );
  return () => Object.fromEntries(PARAMETERS.map(({ id }) => [id, inputs.get(id).value]));
}

function control({ id, label, kind, min, max, step, help }, value) {
  const shared = { id, "aria-describedby": `${id}-help` };
  let input;
  let extra = null;
  if (kind === "area") input = el("textarea", { ...shared, rows: 3, spellcheck: "false" });
  else input = el("input", { ...shared, type: kind, min, max, step, inputmode: kind === "number" ? "numeric" : null, autocomplete: "off" });
  input.value = value;
  if (kind === "range") {
    const shown = el("output", { id: `${id}-value`, for: id });
    const say = () => (shown.textContent = Number(input.value).toFixed(2));
    input.addEventListener("input", say);
    say();
    extra = shown;
  }
  const row = el(
    "div",
    { class: kind === "area" ? "control wide" : "control" },
    el("label", { for: id }, label),
    el("div", { class: "field" }, input, extra),
    el("p", { id: `${id}-help`, class: "help" }, help),
  );
  return [row, input];
}
