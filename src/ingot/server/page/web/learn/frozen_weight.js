// The experiment with one frozen weight: it multiplies, and a write to it fails.

import { button, el } from "../shared/elements.js";

export function frozenWeight(settings) {
  const model = Object.freeze({ weight: Number(settings.weight) });
  const input = el("input", {
    id: "frozen-input",
    type: "number",
    step: "any",
    value: settings.input,
    inputmode: "decimal",
  });
  const product = el("output", { class: "verdict", for: "frozen-input" });
  const refusal = el("p", { class: "refusal", role: "status" });
  const multiply = () => {
    const value = input.valueAsNumber;
    product.textContent = Number.isNaN(value)
      ? "Enter a number."
      : `${model.weight} × ${value} = ${model.weight * value}`;
  };
  const write = () => {
    try {
      model.weight += 0.05; // modules are strict: writing to a frozen object throws
      refusal.textContent = "The write succeeded.";
    } catch (error) {
      refusal.textContent = `${error.name}: ${error.message}. The weight is still ${model.weight}.`;
    }
  };
  input.addEventListener("input", multiply);
  multiply();
  return el(
    "div",
    { class: "experiment" },
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
