// The experiments with a real model: one update as the lesson recorded it, and the served model.

import { explain, json } from "../shared/api.js";
import { button, el, table } from "../shared/elements.js";
import * as format from "../shared/format.js";
import * as models from "../shared/models.js";

// How the lesson's own model was trained.
export function recordedTraining(record) {
  if (record.missing) return null;
  const { measured_at, training } = record;
  return el(
    "div",
    { class: "experiment" },
    el(
      "p",
      { class: "verdict" },
      `Recorded ${measured_at}: ${format.whole(training.steps)} updates in ${format.seconds(training.seconds)} took the loss from ${training.first_loss.toFixed(2)} nats to ${training.validation_loss.toFixed(2)} on text that the model had never seen.`,
    ),
    busyNote(record, "training"),
  );
}

// Says so if other programs disturbed what was recorded.
export function busyNote(record, measurement) {
  if (record.missing) return null;
  const others = record.others[measurement];
  if (others === null || others <= record.busy_share) return null;
  return el(
    "p",
    { class: "busy" },
    `The machine was busy when this was recorded: other programs took ${format.percent(others)} of its processors. Times are too long, and speeds too low.`,
  );
}

export function recordedUpdate(record) {
  if (record.missing) return null;
  const { measured_at, update } = record;
  const rows = update.guesses.map(({ token, guess, before, after }) => [
    el("code", {}, format.token(token)),
    el("code", {}, format.token(guess)),
    probability(before),
    probability(after),
  ]);
  return el(
    "div",
    { class: "experiment" },
    el("p", {}, `One update, recorded ${measured_at}. The model had read:`),
    el("pre", {}, update.context),
    table(
      "Predict, compare, update",
      ["the next token", "the model’s guess", "probability before", "after the update"],
      rows,
    ),
    el(
      "p",
      { class: "verdict" },
      `Loss ${update.loss_before.toFixed(3)} before, ${update.loss_after.toFixed(3)} after; ${format.whole(update.changed)} of ${format.whole(update.weights)} weights changed, digest ${update.digest_before.slice(0, 8)} became ${update.digest_after.slice(0, 8)}.`,
    ),
  );
}

// The served model predicts the next token; nothing is compared and nothing is updated.
export function nextToken(record) {
  const input = el("input", {
    id: "next-token-prompt",
    type: "text",
    value: record.asked?.prompt?.trim() ? record.asked.prompt : "def",
    spellcheck: "false",
    autocomplete: "off",
  });
  const shown = el("div", { "aria-live": "polite" });
  const predict = async () => {
    shown.replaceChildren(el("p", { class: "status" }, "Predicting…"));
    try {
      shown.replaceChildren(...(await predictNext(input.value || " ")));
    } catch (error) {
      shown.replaceChildren(el("p", { class: "status error" }, explain(error)));
    }
  };
  const label = el("label", { for: "next-token-prompt" }, "Prompt for the model served here");
  return el(
    "div",
    { class: "experiment" },
    el("div", { class: "control" }, label, input),
    button("Predict the next token", predict, { class: "primary" }),
    shown,
  );
}

async function predictNext(prompt) {
  const model = await models.selected();
  const before = await models.verify(model);
  const body = {
    model: model.id,
    prompt,
    max_tokens: 1,
    temperature: 0,
    logprobs: 5,
    ignore_eos: true,
  };
  const answer = await json("v1/completions", { body });
  const after = await models.verify(model);
  const [logprobs] = answer.choices[0].logprobs.top_logprobs;
  const rows = Object.entries(logprobs)
    .sort(([, a], [, b]) => b - a)
    .map(([token, logprob]) => [
      el("code", {}, format.token(token)),
      probability(Math.exp(logprob)),
    ]);
  const verdict =
    before.memory === after.memory && after.ok
      ? "All weights in the server’s memory match the sealed ones, before the answer and after it."
      : "The weights in the server’s memory do not match the sealed ones.";
  return [
    table("What could come next", ["token", "probability"], rows),
    el("p", { class: "verdict" }, verdict),
  ];
}

// The memory and the work of both phases, as recorded.
export function phaseNeeds(record) {
  if (record.missing) return null;
  const { phases } = record;
  const rows = [
    ["weights", format.bytes(phases.weight_bytes), format.bytes(phases.served_bytes)],
    ["gradients", format.bytes(phases.gradient_bytes), "none"],
    ["optimizer", format.bytes(phases.optimizer_bytes), "none"],
    [
      "for the text",
      `${format.bytes(phases.activation_bytes)} a sequence`,
      `${format.bytes(phases.kv_bytes)} a token`,
    ],
    [
      "work for a token",
      `${format.scaled(phases.training_flops)}FLOP`,
      `${format.scaled(phases.inference_flops)}FLOP`,
    ],
  ];
  const caption = `What each phase needs, recorded ${record.measured_at}`;
  return el("div", { class: "experiment" }, table(caption, ["", "training", "inference"], rows));
}

// How fast both phases are, and what they cost in time, as recorded.
export function phaseSpeeds(record) {
  if (record.missing) return null;
  const { phases } = record;
  const rows = phases.training_speeds.map((training, index) => {
    const inference = phases.inference_speeds[index];
    return [
      `${training.batch} at once`,
      `${format.whole(training.tokens_per_second)} tokens/s`,
      `${format.whole(inference.tokens_per_second)} tokens/s`,
    ];
  });
  rows.push(
    [
      "cost in time",
      `${format.seconds(phases.training_seconds)}, once`,
      `${format.seconds(phases.answer_seconds)} an answer`,
    ],
    [
      "serving has cost as much after",
      "",
      `${format.whole(phases.training_seconds / phases.answer_seconds)} answers`,
    ],
  );
  const caption = `Speed and cost, recorded ${record.measured_at}`;
  return el(
    "div",
    { class: "experiment" },
    table(caption, ["", "training", "inference"], rows),
    busyNote(record, "phases"),
  );
}

export function largeModelCost(record) {
  if (record.missing) return null;
  const { machine, large_model: large } = record;
  const text = el(
    "p",
    { class: "verdict" },
    `${machine.name} multiplies matrices at ${format.scaled(machine.matmul_flops)}FLOP/s (measured). Training ${large.name} as published would keep it busy for ${format.whole(large.training_years)} years; serving it costs ${format.seconds(large.seconds_per_token)} of that work a token.`,
  );
  return el("div", {}, text, busyNote(record, "training"));
}

const probability = (value) => `${(100 * value).toFixed(2)}%`;
