// Timed completions of a fixed length, for the page's experiments.

import { json } from "./api.js";

// Generates exactly `tokens` tokens. Returns the time it took and what the server reports.
export async function complete(model, prompt, options = {}) {
  const { tokens, salt, temperature = 1, seed = null } = options;
  const started = performance.now();
  const body = { model: model.id, prompt, max_tokens: tokens, temperature, ignore_eos: true };
  if (salt) body.cache_salt = salt;
  if (seed !== null) body.seed = seed;
  const answer = await json("v1/completions", { body });
  return {
    seconds: secondsSince(started),
    text: answer.choices[0].text,
    usage: answer.usage,
    timing: answer.timing,
    digest: answer.system_fingerprint,
  };
}

// Completes several prompts, concurrently or one after another. `options(index)` returns the
// options of one prompt. Returns { seconds, answers }.
export async function completeAll(model, prompts, options, concurrent) {
  const started = performance.now();
  const answers = [];
  if (concurrent) {
    answers.push(
      ...(await Promise.all(
        prompts.map((prompt, index) => complete(model, prompt, options(index))),
      )),
    );
  } else {
    for (const [index, prompt] of prompts.entries())
      answers.push(await complete(model, prompt, options(index)));
  }
  return { seconds: secondsSince(started), answers };
}

export const secondsSince = (started) => (performance.now() - started) / 1000;
