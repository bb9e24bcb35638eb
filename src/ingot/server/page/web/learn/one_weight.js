// The experiment with one trained weight: the learner sets start, rate and steps and sees the curve.

import { el, table } from "../shared/elements.js";
import { short } from "../shared/format.js";
import { LineChart } from "../shared/line_chart.js";

const RULES = {
  error: {
    label: "rate × error",
    change: (rate, _, error) => rate * error,
  },
  gradient: {
    label: "the gradient: rate × 2 × input × error",
    change: (rate, input, error) => rate * 2 * input * error,
  },
};
const MAX_ROWS = 12;

// Predict, compare, update: returns each step as [weight, prediction, error, change, new weight].
export function train({ start, rate, input, target, steps, rule }) {
  const taken = [];
  let weight = start;
  for (let step = 0; step < steps; step += 1) {
    const prediction = weight * input;
    const error = target - prediction;
    const change = RULES[rule].change(rate, input, error);
    taken.push([weight, prediction, error, change, weight + change]);
    weight += change;
  }
  return taken;
}

// The lesson's own experiment: the reader sets the start, the rate and the number of steps.
export function oneWeight(defaults) {
  const fixed = { input: Number(defaults.input), target: Number(defaults.target), rule: "error" };
  const form = weightForm("weight", defaults, ["start", "rate", "steps"]);
  const shown = el("div", { "aria-live": "polite" });
  const update = () => {
    const settings = { ...fixed, ...form.read() };
    shown.replaceChildren(...(isComplete(settings) ? steps(settings) : [incomplete()]));
  };
  form.element.addEventListener("input", update);
  form.element.setAttribute("aria-label", "One weight");
  form.element.append(
    el("p", { class: "help" }, `Input ${fixed.input}, target ${fixed.target}.`),
    shown,
  );
  update();
  return form.element;
}

// For those who want to know more: any input and target, both rules, the curve and the slope.
export function oneWeightInDetail(defaults) {
  const options = Object.entries(RULES).map(([name, { label }]) =>
    el("option", { value: name }, label),
  );
  const rule = el("select", { id: "detail-rule" }, options);
  const chart = new LineChart("Size of the error after each step", { xName: "steps" });
  const form = weightForm("detail", defaults, ["start", "rate", "input", "target", "steps"]);
  const shown = el("div", { "aria-live": "polite" });
  const update = () => {
    const settings = { ...form.read(), rule: rule.value };
    shown.replaceChildren(
      ...(isComplete(settings) ? [...steps(settings), ...curve(settings, chart)] : [incomplete()]),
    );
  };
  form.element.addEventListener("input", update);
  form.element.setAttribute("aria-label", "One weight in detail");
  form.element.append(
    el(
      "div",
      { class: "control" },
      el("label", { for: "detail-rule" }, "Each step adds to the weight"),
      rule,
    ),
    shown,
  );
  update();
  return form.element;
}

const LABELS = { start: "Start", rate: "Rate", input: "Input", target: "Target", steps: "Steps" };

// A form with a field for each name; read() returns their numbers.
function weightForm(prefix, defaults, names) {
  const inputs = {};
  const fields = names.map((name) => {
    const id = `${prefix}-${name}`;
    const range =
      name === "steps" ? { min: 1, max: defaults.most_steps, step: 1 } : { step: "any" };
    inputs[name] = el("input", {
      id,
      type: "number",
      value: defaults[name],
      inputmode: "decimal",
      ...range,
    });
    return el("div", { class: "control" }, el("label", { for: id }, LABELS[name]), inputs[name]);
  });
  const read = () => {
    const entries = Object.entries(inputs).map(([name, input]) => [name, input.valueAsNumber]);
    const settings = Object.fromEntries(entries);
    settings.steps = Math.min(Math.max(Math.trunc(settings.steps), 1), defaults.most_steps);
    return settings;
  };
  const element = el(
    "form",
    { class: "experiment", on: { submit: (event) => event.preventDefault() } },
    el("div", { class: "controls five" }, fields),
  );
  return { element, read };
}

const isComplete = (settings) => !Object.values(settings).some((value) => Number.isNaN(value));
const incomplete = () => el("p", { class: "help" }, "Enter a number in every field.");

function steps(settings) {
  const { input, rate, rule } = settings;
  const taken = train(settings);
  // Both rules are linear in the error, so every step multiplies it by the same factor.
  const factor = 1 - input * RULES[rule].change(rate, input, 1);
  const trend =
    Math.abs(factor) < 1
      ? "it shrinks"
      : Math.abs(factor) > 1
        ? "it grows without end"
        : "it keeps its size";
  const rows = taken
    .slice(0, MAX_ROWS)
    .map((step, index) => [String(index + 1), ...step.map(exact)]);
  return [
    table("Each step", ["step", "weight", "prediction", "error", "change", "new weight"], rows),
    el("p", { class: "verdict" }, `Each step multiplies the error by ${exact(factor)}: ${trend}.`),
  ];
}

function curve(settings, chart) {
  const { start, input, target } = settings;
  const taken = train(settings);
  const errors = [
    ...taken.map(([, , error]) => Math.abs(error)),
    Math.abs(target - taken.at(-1)[4] * input),
  ];
  chart.update([{ name: "error", xs: errors.map((_, step) => step), ys: errors }]);
  const slope = -2 * input * (target - start * input);
  return [
    chart.element,
    el(
      "p",
      { class: "help" },
      `The squared error’s slope at the start is ${exact(slope)}; moving the weight a little in both directions measures ${exact(measuredSlope(settings))}.`,
    ),
  ];
}

// The slope of the squared error at the start, by central differences.
function measuredSlope({ start, input, target }) {
  const squaredError = (weight) => (target - weight * input) ** 2;
  const step = 1e-3;
  return (squaredError(start + step) - squaredError(start - step)) / (2 * step);
}

// A binary fraction such as 1.2320000000000002 is shown as the decimal that it stands for.
export function exact(value) {
  if (!Number.isFinite(value)) return String(value);
  return Math.abs(value) >= 1e6 ? short(value) : String(Number(value.toPrecision(10)));
}
