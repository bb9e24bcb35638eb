// Frozen weights: those just learned and another. They multiply, and a write to one fails.

import { button, el, table } from "../shared/elements.js";
import { exact, train } from "./one_weight.js";

const SHOWN_STEPS = [3, 6, 12, 24, 60];

// The weight of the lesson's few steps, what longer training makes of it, and another weight.
export function frozenWeight(example, settings) {
  const input = el("input", {
    id: "frozen-input",
    type: "number",
    step: "any",
    value: example.input,
    inputmode: "decimal",
  });
  const few = frozen(`Trained for ${example.steps} steps`, learned(example, example.steps));
  const other = frozen("Another model, trained for something else", Number(settings.other));
  let models = [few, other];
  const answers = el("ul", { class: "frozen-models", "aria-live": "polite" });
  const multiply = () =>
    answers.replaceChildren(
      ...models.map((model) =>
        el(
          "li",
          {},
          el("span", { class: "help" }, model.name),
          el("b", {}, answerOf(model, input.valueAsNumber, example)),
        ),
      ),
    );
  const longer = el("div", {});
  const trainLonger = button("Train longer", () => {
    trainLonger.remove();
    longer.append(longerTraining(example));
    const steps = example.long_steps;
    models = [few, frozen(`Trained for ${steps} steps`, learned(example, steps)), other];
    multiply();
  });
  input.addEventListener("input", multiply);
  multiply();
  return el(
    "div",
    { class: "experiment" },
    el("div", { class: "control" }, el("label", { for: "frozen-input" }, "Input"), input),
    answers,
    trainLonger,
    longer,
  );
}

const frozen = (name, weight) => Object.freeze({ name, weight });

function answerOf({ weight }, input, example) {
  if (Number.isNaN(input)) return "Enter a number.";
  const answer = weight * input;
  return `${written(weight)} × ${input} = ${written(answer)}${distance(answer, input, example)}`;
}

function longerTraining(example) {
  const rows = SHOWN_STEPS.filter((step) => step <= example.long_steps).map((step) => {
    const weight = learned(example, step);
    const missing = Number(example.target) - weight * Number(example.input);
    return [String(step), rounded(weight), missing < 0.001 ? "≈0" : rounded(missing)];
  });
  return table("Training resumes, then the weight is frozen", ["step", "weight", "error"], rows);
}

// A frozen weight, and two attempts to write it.
export function sealedMemory(example) {
  const model = frozen("the lesson's", learned(example, example.steps));
  const wanted = model.weight + 0.05;
  const refusals = el("div", { role: "status" });
  const attempt = (write) => () => {
    let said = "The write succeeded.";
    try {
      write(); // modules are strict: writing to a frozen object throws
    } catch (error) {
      said = `${error.name}: ${error.message}.`;
    }
    refusals.append(
      el("p", { class: "refusal" }, `${said} The weight is still ${written(model.weight)}.`),
    );
  };
  const assign = attempt(() => {
    model.weight = wanted;
  });
  const redefine = attempt(() => Object.defineProperty(model, "weight", { value: wanted }));
  return el(
    "div",
    { class: "experiment" },
    el("p", { class: "verdict" }, `The weight is ${written(model.weight)}.`),
    el(
      "div",
      { class: "toolbar" },
      button("Write the weight", assign, { class: "primary" }),
      button("Write it by force", redefine),
    ),
    refusals,
    el(
      "p",
      { class: "help" },
      "Here the browser protects the weight: first from an assignment, then from a new definition. The server’s weights lie in pages of memory that the processor itself protects. In a terminal, ",
      el("code", {}, "ingot lesson"),
      " writes to such a page, and the kernel ends it.",
    ),
  );
}

export function learned(example, steps) {
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

// As many decimals as are exact, or five.
function written(value) {
  const shown = exact(value);
  return shown.length > 8 ? value.toFixed(5) : shown;
}

// A number close to a round one, such as the 1.999998 of many steps, is marked as rounded.
function rounded(value) {
  const shown = Number(value.toPrecision(5));
  return Math.abs(shown - value) > 1e-9 ? `≈${shown}` : exact(value);
}
