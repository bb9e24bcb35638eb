// The room Two phases: the same model, trained once and asked for ever; measured here and now.

import { explain } from "./api.js";
import { many, once } from "./ask.js";
import { button, el, table } from "./dom.js";
import * as format from "./format.js";
import { switches } from "./learn/switches.js";
import * as models from "./models.js";
import { readRecord, phaseTable } from "./record.js";

const ANSWER_TOKENS = 32;
const AT_ONCE = 16;

let facts = null;
let cost = null;
let proof = null;
let tried = null;

export function open(room) {
  [facts, cost, proof, tried] = [0, 1, 2, 3].map(() => el("div", { "aria-live": "polite" }));
  const count = el("input", { id: "proof-count", type: "number", min: 1, max: 10000, value: 100, inputmode: "numeric" });
  room.append(
    el("h2", {}, "One model, two phases"),
    facts,
    el("h2", {}, "Do the weights change?"),
    el("p", { class: "lead" }, "The server hashes every weight in its memory, answers, and hashes them again."),
    el("div", { class: "doings" }, el("label", { for: "proof-count" }, "Answers"), count, button("Ask and compare", (event) => run(event.target, proof, () => prove(Number(count.value))), { class: "primary" })),
    proof,
    el("h2", {}, "When has serving cost more than training?"),
    el("p", { class: "lead" }, `An answer of ${ANSWER_TOKENS} tokens is timed, alone and ${AT_ONCE} at once.`),
    el("div", { class: "doings" }, button("Measure", (event) => run(event.target, cost, price), { class: "primary" })),
    cost,
    el("h2", {}, "What do caching, quantization and batching buy?"),
    switches(null),
    el("h2", {}, "Both sides, measured by the lesson"),
    tried,
  );
  models.onChange(enter);
}

export async function enter() {
  if (!facts) return;
  try {
    const model = await models.needed();
    if (model) showFacts(await models.facts(model));
  } catch (error) {
    facts.replaceChildren(fault(error));
  }
  try {
    const record = await readRecord();
    tried.replaceChildren(el("p", { class: "help" }, `Measured ${record.measured_at} on ${record.machine.name}, ${record.machine.cores} cores, with the lesson’s small model.`), phaseTable(record.phases));
  } catch (error) {
    tried.replaceChildren(el("p", { class: "lead" }, explain(error)));
  }
}

function showFacts(known) {
  const from = known.provenance;
  const trained = (value, write) => (value === null || value === undefined ? "not known" : write(value));
  facts.replaceChildren(
    table(`What is known of ${known.name}`, ["", "training", "inference"], [
      ["weights", "changed by every update", `sealed: ${format.digest(known.digest)}`],
      ["work for a token", `${format.scaled(known.training_flops_per_token)}FLOP, both ways`, `${format.scaled(known.inference_flops_per_token)}FLOP, forward only`],
      ["tokens", trained(from.tokens, (value) => `${format.whole(value)} read, once`), "as many as users ask for"],
      ["time", trained(from.wall_seconds, (value) => `${format.seconds(value)}, once`), "a moment for every answer"],
      ["memory for weights", `${format.bytes(4 * known.parameters)}, as much again for gradients, more for the optimizer`, format.bytes(known.weight_bytes)],
      ["memory for text", "all that the backward pass looks up again", `${format.bytes(known.kv_bytes_per_token)} a token`],
    ]),
  );
}

// Runs an experiment once, its button off meanwhile.
async function run(trigger, place, experiment) {
  trigger.disabled = true;
  place.replaceChildren(el("p", { class: "status" }, "Measuring…"));
  try {
    place.replaceChildren(await experiment());
  } catch (error) {
    place.replaceChildren(fault(error));
  }
  trigger.disabled = false;
}

const fault = (error) => el("p", { class: "status error" }, explain(error));

async function prove(count) {
  if (!(count >= 1 && count <= 10000)) throw new Error("Give a number of answers from 1 to 10,000.");
  const model = await models.needed();
  const before = await models.verify(model);
  const started = performance.now();
  for (let done = 0; done < count; done += AT_ONCE) {
    const prompts = Array(Math.min(AT_ONCE, count - done)).fill("a");
    await many(model, prompts, (place) => ({ tokens: 4, seed: done + place }), true);
  }
  const seconds = (performance.now() - started) / 1000;
  const after = await models.verify(model);
  const same = before.memory === after.memory;
  return table("Every weight in memory, hashed", ["", "digest", "as sealed"], [
    ["before", before.memory.slice(0, 24), before.ok ? "yes" : "no"],
    [`after ${format.whole(count)} answers in ${format.seconds(seconds)}`, after.memory.slice(0, 24), after.ok ? "yes" : "no"],
    ["so", same ? "unchanged" : "changed", ""],
  ]);
}

async function price() {
  const model = await models.needed();
  const known = await models.facts(model);
  const options = (place) => ({ tokens: ANSWER_TOKENS, seed: place });
  await once(model, "a", options(0)); // warm
  const alone = await many(model, ["a", "a", "a"], options, false);
  const crowd = await many(model, Array(AT_ONCE).fill("a"), options, true);
  const each = [alone.seconds / alone.answers.length, crowd.seconds / crowd.answers.length];
  const trained = known.provenance.wall_seconds;
  const until = (seconds) => (trained ? `${format.whole(trained / seconds)} answers` : "not known");
  return table("Time for an answer", ["", "an answer takes", "serving has taken as long as training after"], [
    ["one user", format.seconds(each[0]), until(each[0])],
    [`${AT_ONCE} users at once`, `${format.seconds(each[1])} of the machine`, until(each[1])],
  ]);
}
