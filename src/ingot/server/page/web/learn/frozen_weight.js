// Frozen weights: those just learned and another. They multiply, and a write to one fails.

import { button, el, table } from "../shared/elements.js";
import { exact, train } from "./one_weight.js";

const SHOWN_STEPS = [3, 6, 12, 24, 60];

// The weight of the lesson's few steps, what longer training makes of it, and another weight.
export function frozenWeight(example, settings) {
  const chosen = el("select", { id: "frozen-model" });
  const input = el("input", {
    id: "frozen-input",
    type: "number",
    step: "any",
    value: example.input,
    inputmode: "decimal",
  });
  const product = el("output", { class: "verdict", for: "frozen-input" });
  const models = [];
  const add = (name, weight) => {
    models.push(Object.freeze({ name, weight }));
    chosen.append(el("option", { value: models.length - 1 }, `${name}: weight ${rounded(weight)}`));
  };
  const multiply = () => {
    const { weight } = models[Number(chosen.value)];
    const value = input.valueAsNumber;
    product.textContent = Number.isNaN(value)
      ? "Enter a number."
      : `${rounded(weight)} × ${value} = ${rounded(weight * value)}${distance(weight * value, value, example)}`;
  };
  const longer = el("div", { "aria-live": "polite" });
  const trainLonger = button("Train longer", () => {
    trainLonger.remove();
    longer.append(longerTraining(example));
    add(`after ${example.long_steps} steps`, learned(example, example.long_steps));
    chosen.value = String(models.length - 1);
    multiply();
  });
  add(`after ${example.steps} steps`, learned(example, example.steps));
  add("another model", Number(settings.other));
  input.addEventListener("input", multiply);
  chosen.addEventListener("change", multiply);
  multiply();
  return el(
    "div",
    { class: "experiment" },
    el("div", { class: "control" }, el("label", { for: "frozen-model" }, "Frozen model"), chosen),
    el("div", { class: "control" }, el("label", { for: "frozen-input" }, "Input"), input),
    product,
    trainLonger,
    longer,
  );
}

function longerTraining(example) {
  const rows = SHOWN_STEPS.filter((step) => step <= example.long_steps).map((step) => {
    const weight = learned(example, step);
    const missing = Number(example.target) - weight * Number(example.input);
    return [String(step), rounded(weight), missing < 0.001 ? "≈0" : rounded(missing)];
  });
  return table("Training resumes, then the weight is frozen", ["step", "weight", "error"], rows);
}

// A frozen weight, and an attempt to write it.
export function sealedMemory(example) {
  const model = Object.freeze({ weight: learned(example, example.steps) });
  const refusal = el("p", { class: "refusal", role: "status" });
  const write = () => {
    try {
      model.weight += 0.05; // modules are strict: writing to a frozen object throws
      refusal.textContent = "The write succeeded.";
    } catch (error) {
      refusal.textContent = `${error.name}: ${error.message}. The weight is still ${rounded(model.weight)}.`;
    }
  };
  return el(
    "div",
    { class: "experiment" },
    el("p", { class: "verdict" }, `The weight is ${rounded(model.weight)}.`),
    button("Write the weight", write, { class: "primary" }),
    refusal,
    el(
      "p",
      { class: "help" },
      "Here the browser protects a frozen object. The server’s own weights lie in read-only pages of memory: ingot lesson lets a process try to write them.",
    ),
  );
}

function learned(example, steps) {
  const numbers = ["start", "rate", "input", "target"].map((name) => [name, Number(example[name])]);
  return train({ ...Object.fromEntries(numbers), steps, rule: "error" }).at(-1)[4];
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
