// Frozen weights: those just learned and another. They multiply, and a write to one fails.

import { button, el } from "../shared/elements.js";
import { exact, train } from "./one_weight.js";

export function frozenWeight(example, settings) {
  const models = frozenModels(example, settings);
  let model = models[0];
  const chosen = el(
    "select",
    { id: "frozen-model" },
    models.map(({ name, weight }, index) =>
      el("option", { value: index }, `${name}: weight ${rounded(weight)}`),
    ),
  );
  const input = el("input", {
    id: "frozen-input",
    type: "number",
    step: "any",
    value: example.input,
    inputmode: "decimal",
  });
  const product = el("output", { class: "verdict", for: "frozen-input" });
  const refusal = el("p", { class: "refusal", role: "status" });
  const multiply = () => {
    model = models[Number(chosen.value)];
    refusal.textContent = "";
    const value = input.valueAsNumber;
    product.textContent = Number.isNaN(value)
      ? "Enter a number."
      : `${rounded(model.weight)} × ${value} = ${rounded(model.weight * value)}${distance(model.weight * value, value, example)}`;
  };
  const write = () => {
    try {
      model.weight += 0.05; // modules are strict: writing to a frozen object throws
      refusal.textContent = "The write succeeded.";
    } catch (error) {
      refusal.textContent = `${error.name}: ${error.message}. The weight is still ${rounded(model.weight)}.`;
    }
  };
  input.addEventListener("input", multiply);
  chosen.addEventListener("change", multiply);
  multiply();
  return el(
    "div",
    { class: "experiment" },
    el("div", { class: "control" }, el("label", { for: "frozen-model" }, "Frozen model"), chosen),
    el("div", { class: "control" }, el("label", { for: "frozen-input" }, "Input"), input),
    product,
    button("Write the weight", write),
    refusal,
    el(
      "p",
      { class: "help" },
      "Here the browser protects a frozen object. The server’s own weights lie in read-only pages of memory: ingot lesson lets a process try to write them.",
    ),
  );
}

// The weight of the lesson's few steps, that of many, and one that was not trained for the target.
function frozenModels(example, settings) {
  const numbers = Object.fromEntries(
    ["start", "rate", "input", "target"].map((name) => [name, Number(example[name])]),
  );
  const learned = (steps) => train({ ...numbers, steps, rule: "error" }).at(-1)[4];
  return [
    { name: `after ${example.steps} steps`, weight: learned(example.steps) },
    { name: `after ${example.long_steps} steps`, weight: learned(example.long_steps) },
    { name: "another model", weight: Number(settings.other) },
  ].map(Object.freeze);
}

// What an answer to the lesson's own question lacks of the target.
function distance(answer, value, example) {
  if (value !== Number(example.input)) return "";
  const missing = Number(example.target) - answer;
  return Math.abs(missing) < 0.001
    ? ", the target"
    : `, ${rounded(missing)} short of ${example.target}`;
}

// A number close to a round one, such as the 1.999998 of many steps, is marked as rounded.
function rounded(value) {
  const shown = Number(value.toPrecision(5));
  return Math.abs(shown - value) > 1e-9 ? `≈${shown}` : exact(value);
}
