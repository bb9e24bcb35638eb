// Asking the server as its users do, timed: for experiments, not for reading.

import { json } from "./api.js";

// One answer of exactly `tokens` tokens. Returns its seconds and the server's own report.
export async function once(model, prompt, { tokens, salt, temperature = 1, seed = null } = {}) {
  const started = performance.now();
  const body = { model: model.id, prompt, max_tokens: tokens, temperature, ignore_eos: true };
  if (salt) body.cache_salt = salt;
  if (seed !== null) body.seed = seed;
  const answer = await json("v1/completions", { body });
  const seconds = (performance.now() - started) / 1000;
  return { seconds, text: answer.choices[0].text, usage: answer.usage, timing: answer.timing, digest: answer.system_fingerprint };
}

// Many users: all at once, or each after the one before. Returns { seconds, answers }.
export async function many(model, prompts, options, together) {
  const started = performance.now();
  let answers = [];
  if (together) answers = await Promise.all(prompts.map((prompt, place) => once(model, prompt, options(place))));
  else for (const [place, prompt] of prompts.entries()) answers.push(await once(model, prompt, options(place)));
  return { seconds: (performance.now() - started) / 1000, answers };
}
