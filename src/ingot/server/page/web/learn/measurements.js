// The measurement behind each practice question, made on the served model when it is answered.

import * as format from "../shared/format.js";
import * as models from "../shared/models.js";
import { complete, completeAll } from "../shared/timed_requests.js";

const USERS = 8;
const TOKENS = 16;

const answerUsers = (model) =>
  completeAll(model, Array(USERS).fill("a"), (index) => ({ tokens: TOKENS, seed: index }), true);

const countOrUnknown = (value) =>
  value === null || value === undefined ? "an unknown number of" : format.whole(value);

async function digestsAroundAnswers(model) {
  const before = await models.verify(model);
  await answerUsers(model);
  const after = await models.verify(model);
  return { same: before.memory === after.memory, tensors: after.tensors, memory: after.memory };
}

// By the question's id in content.toml; each returns a clause that follows "Measured now:".
const MEASUREMENTS = {
  async updates(model, facts) {
    const { same, tensors } = await digestsAroundAnswers(model);
    return `${countOrUnknown(facts.provenance.steps)} updates made this model; ${USERS} answers just now changed ${same ? "none" : "some"} of its ${tensors} tensors`;
  },
  async serves(model) {
    const { seconds } = await answerUsers(model);
    return `${USERS} users sent a prompt just now, and all were answered after ${format.seconds(seconds)}`;
  },
  async unchanged(model) {
    const { same, memory } = await digestsAroundAnswers(model);
    return `after ${USERS} more answers the digest over all weights in memory is ${same ? "the same" : "another"}: ${format.digest(memory)}`;
  },
  async needs(_, facts) {
    const times = facts.training_flops_per_token / facts.inference_flops_per_token;
    return `training read ${countOrUnknown(facts.provenance.tokens)} tokens, each at ${times.toFixed(1)} times the work of a token served`;
  },
  async tuned(model) {
    await complete(model, "a", { tokens: 1 }); // warm-up
    const { seconds, timing } = await complete(model, "a", { tokens: TOKENS });
    const wait = timing
      ? `, of which ${format.seconds(timing.queue_s + timing.prefill_s)} passed before the first`
      : "";
    return `one user just received ${TOKENS} tokens after ${format.seconds(seconds)}${wait}`;
  },
  async fixed(model) {
    const { ok, tensors } = await models.verify(model);
    return `${ok ? `all ${tensors}` : "not all"} tensors in memory have the digests that were sealed into ${format.digest(model.digest)}`;
  },
};

export async function measure(questionId) {
  const model = await models.selected();
  return MEASUREMENTS[questionId](model, await models.facts(model));
}
