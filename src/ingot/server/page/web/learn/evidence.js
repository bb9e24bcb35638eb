// What answers each practice question: a measurement of the model served here, made when asked.

import { many, once } from "../ask.js";
import * as format from "../format.js";
import * as models from "../models.js";

const USERS = 8;
const TOKENS = 16;

const crowd = (model) => many(model, Array(USERS).fill("a"), (place) => ({ tokens: TOKENS, seed: place }), true);
const known = (value, write) => (value === null || value === undefined ? "an unknown number of" : write(value));

async function aroundACrowd(model) {
  const before = await models.verify(model);
  const { seconds } = await crowd(model);
  const after = await models.verify(model);
  return { same: before.memory === after.memory, ok: after.ok, tensors: after.tensors, memory: after.memory, seconds };
}

const MEASUREMENTS = {
  async updates(model, facts) {
    const { same, tensors } = await aroundACrowd(model);
    return `${known(facts.provenance.steps, format.whole)} updates made this model; ${USERS} answers just now changed ${same ? "none" : "some"} of its ${tensors} tensors`;
  },
  async serves(model) {
    const { seconds } = await crowd(model);
    return `${USERS} users asked just now, and all were answered after ${format.seconds(seconds)}`;
  },
  async unchanged(model) {
    const { same, memory } = await aroundACrowd(model);
    return `after ${USERS} more answers the digest over all weights in memory is ${same ? "the same" : "another"}: ${format.digest(memory)}`;
  },
  async needs(model, facts) {
    const times = facts.training_flops_per_token / facts.inference_flops_per_token;
    return `training read ${known(facts.provenance.tokens, format.whole)} tokens, each at ${times.toFixed(1)} times the work of a token served`;
  },
  async tuned(model) {
    await once(model, "a", { tokens: 1 });
    const answer = await once(model, "a", { tokens: TOKENS });
    const wait = answer.timing ? `, of which ${format.seconds(answer.timing.queue_s + answer.timing.prefill_s)} passed before the first` : "";
    return `one user just had ${TOKENS} tokens after ${format.seconds(answer.seconds)}${wait}`;
  },
  async fixed(model) {
    const { ok, tensors } = await models.verify(model);
    return `${ok ? `all ${tensors}` : "not all"} tensors in memory have the digests that were sealed into ${format.digest(model.digest)}`;
  },
};

// Returns a sentence in figures.
export async function measure(questionId) {
  const model = await models.needed();
  return MEASUREMENTS[questionId](model, await models.facts(model));
}
