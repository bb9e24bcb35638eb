// One frozen weight: it multiplies, and a write to it fails before the learner's eyes.

import { button, el } from "../dom.js";

export function frozenWeight(given) {
  const model = Object.freeze({ weight: Number(given.weight) });
  const input = el("input", { id: "frozen-input", type: "number", step: "any", value: given.input, inputmode: "decimal" });
  const answer = el("output", { class: "verdict", for: "frozen-input" });
  const refusal = el("p", { class: "refusal", role: "status" });
  const ask = () => {
    const value = input.valueAsNumber;
    answer.textContent = Number.isNaN(value) ? "Give a number." : `${model.weight} × ${value} = ${model.weight * value}`;
  };
  const write = () => {
    try {
      model.weight += 0.05; // modules are strict: this throws
      refusal.textContent = "The write went through.";
    } catch (error) {
      refusal.textContent = `${error.name}: ${error.message}. The weight is still ${model.weight}.`;
    }
  };
  input.addEventListener("input", ask);
  ask();
  return el(
    "div",
    { class: "experiment" },
    el("div", { class: "control" }, el("label", { for: "frozen-input" }, "Input"), input),
    answer,
    button("Write the weight", write),
    refusal,
    el("p", { class: "help" }, "Here the browser guards a frozen object. The server’s own weights lie in pages that the processor refuses to write: ingot lesson lets a process try."),
  );
}
