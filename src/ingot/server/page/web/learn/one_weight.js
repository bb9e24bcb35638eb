// One weight that learns: the learner sets start, rate and steps and sees the curve.

import { el, table } from "../dom.js";
import { short } from "../format.js";
import { plot } from "../plot.js";

const RULES = {
  error: { label: "rate × error", change: (rate, input, error) => rate * error },
  gradient: { label: "the gradient: rate × 2 × input × error", change: (rate, input, error) => rate * 2 * input * error },
};

// Predict, compare, update: each step as [weight, prediction, error, change, new weight].
export function learn({ start, rate, input, target, steps, rule = "error" }) {
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

export function oneWeight(given) {
  const field = (id, label, value, attributes) => {
    const control = el("input", { id: `weight-${id}`, type: "number", value, inputmode: "decimal", ...attributes });
    return [control, el("div", { class: "control" }, el("label", { for: `weight-${id}` }, label), control)];
  };
  const [start, startRow] = field("start", "Start", given.start, { step: "any" });
  const [rate, rateRow] = field("rate", "Rate", given.rate, { step: "any" });
  const [input, inputRow] = field("input", "Input", given.input, { step: "any" });
  const [target, targetRow] = field("target", "Target", given.target, { step: "any" });
  const [steps, stepsRow] = field("steps", "Steps", given.steps, { min: 1, max: given.most_steps, step: 1 });
  const rule = el("select", { id: "weight-rule" }, Object.entries(RULES).map(([name, { label }]) => el("option", { value: name }, label)));
  const shown = el("div", { "aria-live": "polite" });
  const draw = () => shown.replaceChildren(...result(read(), given));
  const read = () => ({
    start: start.valueAsNumber, rate: rate.valueAsNumber, input: input.valueAsNumber, target: target.valueAsNumber,
    steps: Math.min(Math.max(Math.trunc(steps.valueAsNumber), 1), given.most_steps), rule: rule.value,
  });
  const form = el(
    "form",
    { class: "experiment", "aria-label": "One weight", on: { input: draw, submit: (event) => event.preventDefault() } },
    el("div", { class: "controls five" }, startRow, rateRow, inputRow, targetRow, stepsRow),
    el("div", { class: "control" }, el("label", { for: "weight-rule" }, "Each step adds to the weight"), rule),
    shown,
  );
  draw();
  return form;
}

function result(settings) {
  if (Object.values(settings).some((value) => Number.isNaN(value))) return [el("p", { class: "help" }, "Give a number everywhere.")];
  const taken = learn(settings);
  const factor = 1 - settings.input * RULES[settings.rule].change(settings.rate, settings.input, 1);
  const fate = Math.abs(factor) < 1 ? "it shrinks" : Math.abs(factor) > 1 ? "it grows without end" : "it keeps its size";
  const rows = taken.slice(0, 12).map((step, place) => [String(place + 1), ...step.map(exact)]);
  const errors = [...taken.map(([, , error]) => Math.abs(error)), Math.abs(settings.target - taken.at(-1)[4] * settings.input)];
  const slope = -2 * settings.input * (settings.target - settings.start * settings.input);
  return [
    table("Each step", ["step", "weight", "prediction", "error", "change", "new weight"], rows),
    plot("Size of the error after each step", [{ name: "error", xs: errors.map((_, place) => place), ys: errors }], { xName: "steps" }),
    el("p", { class: "verdict" }, `Each step multiplies the error by ${exact(factor)}: ${fate}.`),
    el("p", { class: "help" }, `The squared error’s slope at the start is ${exact(slope)}; moving the weight a little both ways measures ${exact(measuredSlope(settings))}.`),
  ];
}

function measuredSlope({ start, input, target }) {
  const squared = (weight) => (target - weight * input) ** 2;
  const nudge = 1e-3;
  return (squared(start + nudge) - squared(start - nudge)) / (2 * nudge);
}

// Binary fractions such as 1.2320000000000002 are shown as what they stand for.
const exact = (value) => (Number.isFinite(value) ? (Math.abs(value) >= 1e6 ? short(value) : String(Number(value.toPrecision(10)))) : String(value));
