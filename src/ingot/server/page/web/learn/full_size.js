// The real model: one update token by token, as the lesson recorded it, and the served one asked live.

import { explain, json } from "../api.js";
import { button, el, table } from "../dom.js";
import * as format from "../format.js";
import * as models from "../models.js";
import { phaseTable } from "../record.js";

export function update(record) {
  if (record.missing) return null;
  const shown = record.update;
  return el(
    "div",
    { class: "experiment" },
    el("p", {}, `Recorded ${record.measured_at}: ${format.whole(record.training.steps)} updates in ${format.seconds(record.training.seconds)} took the loss from ${record.training.first_loss.toFixed(2)} to ${record.training.validation_loss.toFixed(2)} on text it had never seen. Then one more, in slow motion. The model had read:`),
    el("pre", {}, shown.context),
    table("Predict, compare, update", ["the token that came", "the model’s guess", "odds it gave", "after the update"],
      shown.guesses.map(({ token, guess, before, after }) => [el("code", {}, format.token(token)), el("code", {}, format.token(guess)), odds(before), odds(after)])),
    el("p", { class: "verdict" }, `Loss ${shown.loss_before.toFixed(3)} before, ${shown.loss_after.toFixed(3)} after; ${format.whole(shown.changed)} of ${format.whole(shown.weights)} weights changed, digest ${shown.digest_before.slice(0, 8)} became ${shown.digest_after.slice(0, 8)}.`),
  );
}

// The served model predicts the next token; there is nothing to compare with, and nothing is updated.
export function asked(record) {
  const text = el("input", { id: "asked-text", type: "text", value: record.asked?.prompt?.trim() ? record.asked.prompt : "def", spellcheck: "false", autocomplete: "off" });
  const shown = el("div", { "aria-live": "polite" });
  const ask = async () => {
    shown.replaceChildren(el("p", { class: "status" }, "Asking…"));
    try {
      const model = await models.needed();
      const before = await models.verify(model);
      const answer = await json("v1/completions", { body: { model: model.id, prompt: text.value || " ", max_tokens: 1, temperature: 0, logprobs: 5, ignore_eos: true } });
      const after = await models.verify(model);
      const top = Object.entries(answer.choices[0].logprobs.top_logprobs[0]).sort((a, b) => b[1] - a[1]);
      shown.replaceChildren(
        table("What could come next", ["token", "odds"], top.map(([token, score]) => [el("code", {}, format.token(token)), odds(Math.exp(score))])),
        el("p", { class: "verdict" }, before.memory === after.memory && after.ok
          ? `All ${after.tensors} tensors in the server’s memory are what was sealed, before and after (${format.digest(after.memory)}).`
          : "The weights in the server’s memory are not what was sealed."),
      );
    } catch (error) {
      shown.replaceChildren(el("p", { class: "status error" }, explain(error)));
    }
  };
  return el(
    "div",
    { class: "experiment" },
    el("div", { class: "control" }, el("label", { for: "asked-text" }, "Text so far, for the model served here"), text),
    button("Predict the next token", ask, { class: "primary" }),
    shown,
  );
}

export function sideBySide(record) {
  return record.missing ? null : el("div", { class: "experiment" }, phaseTable(record.phases));
}

export function largeModel(record) {
  if (record.missing) return null;
  const { machine, large_model: large } = record;
  return el("p", { class: "verdict" }, `${machine.name} multiplies matrices at ${format.scaled(machine.matmul_flops)}FLOP/s (measured). Trained as published, ${large.name} would keep it busy for ${format.whole(large.training_years)} years; serving it costs ${format.seconds(large.seconds_per_token)} of that work a token.`);
}

const odds = (value) => `${(100 * value).toFixed(2)}%`;
