// Timed completions of a fixed length, for the page's experiments.
//
// A browser opens six connections to a server, so requests of more users than six would wait in
// the browser. Users who ask at once are therefore prompts of one request: the engine runs each as
// a separate sequence, in one batch, and streams their tokens as they come.

import { events, json } from "./api.js";

const LATE_SHARE = 0.01; // of the times between an answer's tokens: one may always be longer

let last = Promise.resolve();

// Runs a measurement when the ones before it have ended: two at once would disturb each other.
export function inTurn(measure) {
  const next = last.then(measure);
  last = next.catch(() => {});
  return next;
}

// Generates exactly `tokens` tokens for a prompt, or for each of a list of prompts at once. Returns
// the time that it took and what the server reports; the text is that of the first prompt.
export async function complete(model, prompt, options = {}) {
  const { tokens, salt, temperature = 1, seed = null, signal } = options;
  const started = performance.now();
  const body = { model: model.id, prompt, max_tokens: tokens, temperature, ignore_eos: true };
  if (salt) body.cache_salt = salt;
  if (seed !== null) body.seed = seed;
  const answer = await json("v1/completions", { body, signal });
  const choices = answer.choices.toSorted((a, b) => a.index - b.index);
  return {
    seconds: secondsSince(started),
    text: choices[0].text,
    texts: choices.map(({ text }) => text),
    usage: answer.usage,
    timing: answer.timing,
    digest: answer.system_fingerprint,
  };
}

// Answers several users who ask at the same moment. Without batching they are answered one after
// another; without caching each token is requested with all of the text before it. Returns the
// seconds until all have their answers, and for each user the seconds at which tokens came.
// `onAnswer(count)` is called with the number of answers that are complete.
export async function serveUsers(model, prompts, tokens, { caching, batching }, options = {}) {
  const { signal, onAnswer = () => {} } = options;
  const users = prompts.map((_, user) => user);
  const groups = batching ? [users] : users.map((user) => [user]);
  const times = prompts.map(() => []);
  const started = performance.now();
  const answer = caching ? withCache : withoutCache;
  let answered = 0;
  for (const group of groups) {
    const texts = group.map((user) => prompts[user]);
    await answer(model, texts, tokens, signal, (index) =>
      times[group[index]].push(secondsSince(started)),
    );
    answered += group.length;
    onAnswer(answered);
  }
  return { seconds: secondsSince(started), times };
}

async function withCache(model, prompt, tokens, signal, onToken) {
  const body = { model: model.id, prompt, max_tokens: tokens, temperature: 0, ignore_eos: true };
  // No run finds in the cache what another one has left there.
  // One event may hold several tokens; only the probabilities say how many.
  Object.assign(body, { stream: true, logprobs: 0, cache_salt: crypto.randomUUID() });
  for await (const event of events("v1/completions", body, signal))
    for (const { index, logprobs } of event.choices)
      for (const _ of logprobs?.tokens ?? []) onToken(index);
}

async function withoutCache(model, prompts, tokens, signal, onToken) {
  let texts = prompts;
  for (let token = 0; token < tokens; token += 1) {
    const options = { tokens: 1, temperature: 0, salt: crypto.randomUUID(), signal };
    const answer = await complete(model, texts, options);
    texts = texts.map((text, index) => text + answer.texts[index]);
    for (const index of texts.keys()) onToken(index);
  }
}

// Whether an answer whose tokens came at these times kept an objective, as the server counts it:
// { first, gap }, the longest seconds to the first token and between two.
export function isInTime(times, { first, gap }) {
  if (!times.length || times[0] > first) return false;
  const gaps = gapsOf(times);
  const late = gaps.filter((each) => each > gap).length;
  return late <= Math.ceil(LATE_SHARE * gaps.length);
}

export const gapsOf = (times) => times.slice(1).map((time, index) => time - times[index]);

export const secondsSince = (started) => (performance.now() - started) / 1000;
