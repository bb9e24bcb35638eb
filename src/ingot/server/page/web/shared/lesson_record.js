// The measurements of the last `ingot lesson` on the server's machine, and their table.

import { json } from "./api.js";
import { table } from "./elements.js";
import * as format from "./format.js";

export const readRecord = () => json("lesson/record");

export function phaseTable(phases) {
  const digests = ([before, after]) =>
    before === after
      ? `unchanged (${before.slice(0, 8)})`
      : `changed (${before.slice(0, 8)} to ${after.slice(0, 8)})`;
  const breakEven = phases.training_seconds / phases.answer_seconds;
  const speeds = phases.training_speeds.map((training, index) => {
    const inference = phases.inference_speeds[index];
    return [
      `${training.batch} at once`,
      `${format.whole(training.tokens_per_second)} tokens/s, ${format.short(training.milliseconds)} ms an update`,
      `${format.whole(inference.tokens_per_second)} tokens/s, ${format.short(inference.milliseconds)} ms a token for each`,
    ];
  });
  return table(
    "Training and inference, measured",
    ["", "training", "inference"],
    [
      [
        "weights",
        `${digests(phases.training_digests)} by one update`,
        `${digests(phases.inference_digests)} by ${phases.requests} answers`,
      ],
      ["memory: weights", format.bytes(phases.weight_bytes), format.bytes(phases.served_bytes)],
      ["gradients", format.bytes(phases.gradient_bytes), "none"],
      ["optimizer", format.bytes(phases.optimizer_bytes), "none"],
      [
        "for the text",
        `${format.bytes(phases.activation_bytes)} a sequence`,
        `${format.bytes(phases.kv_bytes)} a token`,
      ],
      [
        "work for a token",
        `${format.scaled(phases.training_flops)}FLOP, forward and backward`,
        `${format.scaled(phases.inference_flops)}FLOP, forward only`,
      ],
      ...speeds,
      ["when", "once, offline", "for every token of every user"],
      [
        "cost in time",
        `${format.seconds(phases.training_seconds)} in all, ${format.whole(phases.training_tokens)} tokens read`,
        `${format.seconds(phases.answer_seconds)} an answer of ${phases.answer_tokens} tokens`,
      ],
      ["serving has cost as much after", "", `${format.whole(breakEven)} answers`],
    ],
  );
}
