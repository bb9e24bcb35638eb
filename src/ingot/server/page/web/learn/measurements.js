// The measurement behind each practice question, made on the served model when it is answered.

import * as format from "../shared/format.js";
import * as models from "../shared/models.js";
import { complete, inTurn } from "../shared/timed_requests.js";

const USERS = 8;
const TOKENS = 16;

const answerUsers = (model) => complete(model, Array(USERS).fill("a"), { tokens: TOKENS, seed: 1 });

const countOrUnknown = (value) =>
  value === null || value === undefined ? "an unknown number of" : format.whole(value);

async function digestsAroundAnswers(model) {
  const before = await models.verify(model);
  const { usage } = await answerUsers(model);
  const tokens = usage.prompt_tokens + usage.completion_tokens;
  const after = await models.verify(model);
  return { same: before.memory === after.memory, memory: after.memory, tokens };
}

const ROUNDS = 3;
const QUIET_SPREAD = 1.5;

// Measures a time several times. Returns the shortest, and a remark if the times lie far apart.
async function timed(measureSeconds) {
  const times = [];
  for (let round = 0; round < ROUNDS; round += 1) times.push(await measureSeconds());
  const [shortest, longest] = [Math.min(...times), Math.max(...times)];
  const busy =
    longest > QUIET_SPREAD * shortest
      ? `The machine is busy: ${ROUNDS} measurements took from ${format.seconds(shortest)} to ${format.seconds(longest)}. The shortest is shown; on a quiet machine it may be shorter.`
      : null;
  return { shortest, busy };
}

// By the question's id in content.toml; each returns a clause that follows "Measured now:", or
// { text, busy } with a remark about the load.
const MEASUREMENTS = {
  async updates(model, facts) {
    const { same } = await digestsAroundAnswers(model);
    return `${countOrUnknown(facts.provenance.steps)} updates made this model; ${USERS} answers just now changed ${same ? "none" : "some"} of its ${format.whole(facts.parameters)} weights`;
  },
  async serves(model) {
    const { shortest, busy } = await timed(async () => (await answerUsers(model)).seconds);
    return {
      text: `${USERS} users sent a prompt just now, and all were answered after ${format.seconds(shortest)}`,
      busy,
    };
  },
  async unchanged(model, facts) {
    const { same, memory, tokens } = await digestsAroundAnswers(model);
    const held = tokens * facts.kv_bytes_per_token;
    return `${USERS} users’ prompts and answers, ${tokens} tokens, took ${format.bytes(held)} of cache, and the digest over all weights in memory is ${same ? "the same" : "another"}: ${format.digest(memory)}`;
  },
  async needs(_, facts) {
    const times = facts.training_flops_per_token / facts.inference_flops_per_token;
    return `training read ${countOrUnknown(facts.provenance.tokens)} tokens, each at ${times.toFixed(1)} times the work of a token served`;
  },
  async tuned(model) {
    await complete(model, "a", { tokens: 1 }); // warm-up
    const { shortest, busy } = await timed(
      async () => (await complete(model, "a", { tokens: TOKENS })).seconds,
    );
    return {
      text: `one user just received ${TOKENS} tokens after ${format.seconds(shortest)}`,
      busy,
    };
  },
  async fixed(model) {
    const { ok } = await models.verify(model);
    return `${ok ? "all" : "not all"} weights in memory are those that were sealed under the digest ${format.digest(model.digest)}`;
  },
};

// Returns { text, busy, digest } with the digest of the model that was measured.
export async function measure(questionId) {
  const model = await models.selected();
  const facts = await models.facts(model);
  const found = await inTurn(() => MEASUREMENTS[questionId](model, facts));
  const result = typeof found === "string" ? { text: found, busy: null } : found;
  return { ...result, digest: model.digest };
}
