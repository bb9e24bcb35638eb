// Requests of several users under each setting of the switches, and what they took.

import { events, json } from "../shared/api.js";

// Returns what the answers took: { seconds, written, computed, compute_s, cost, currency }.
// Calls `onStep([{ user, text, p }])` with the tokens of each step as they arrive.
//
// Batching: all users in one request, whose answers the engine batches; else one after another.
// Caching: keys and values are kept. Without it each token is requested with all of the text
// before it, under a salt that keeps it out of the prefix cache.
export async function answerUsers(model, prompts, tokens, { caching, batching }, onStep) {
  const users = prompts.map((_, user) => user);
  const groups = batching ? [users] : users.map((user) => [user]);
  const total = { written: 0, computed: 0, compute_s: 0, cost: null, currency: "" };
  const answer = caching ? withCache : withoutCache;
  const began = performance.now();
  for (const group of groups) await answer(model, prompts, group, tokens, total, onStep);
  return { ...total, seconds: (performance.now() - began) / 1000 };
}

const bodyOf = (model, prompts, tokens) => ({
  model: model.id,
  prompt: prompts,
  max_tokens: tokens,
  temperature: 0.8,
  seed: 7,
  logprobs: 1,
  ignore_eos: true,
  cache_salt: crypto.randomUUID(), // no run finds what another one has left in the cache
  usage: { include: true },
});

async function withCache(model, prompts, group, tokens, total, onStep) {
  const body = bodyOf(
    model,
    group.map((user) => prompts[user]),
    tokens,
  );
  body.stream = true;
  // One write may hold several tokens of a user: the n-th tokens of all users make the n-th step.
  const arrived = new Map(group.map((user) => [user, []]));
  let shown = 0;
  const showUpTo = (count) => {
    for (; shown < count; shown += 1)
      onStep([...arrived.values()].map((own) => own[shown]).filter(Boolean));
  };
  const counts = () => [...arrived.values()].map(({ length }) => length);
  for await (const event of events("v1/completions", body)) {
    if (event.usage) count(total, event.usage);
    for (const choice of event.choices) {
      const user = group[choice.index];
      arrived.get(user).push(...tokensOf(choice, user));
    }
    showUpTo(Math.min(...counts()));
  }
  showUpTo(Math.max(...counts()));
}

async function withoutCache(model, prompts, group, tokens, total, onStep) {
  let texts = group.map((user) => prompts[user]);
  for (let token = 0; token < tokens; token += 1) {
    const answer = await json("v1/completions", { body: bodyOf(model, texts, 1) });
    count(total, answer.usage);
    const choices = [...answer.choices].sort((a, b) => a.index - b.index);
    onStep(choices.flatMap((choice) => tokensOf(choice, group[choice.index]).slice(0, 1)));
    texts = texts.map((text, index) => text + choices[index].text);
  }
}

function tokensOf({ logprobs, text }, user) {
  if (!logprobs?.tokens?.length) return text ? [{ user, text, p: null }] : [];
  return logprobs.tokens.map((token, index) => ({
    user,
    text: token.startsWith("bytes:") ? "�" : token, // a part of a character
    p: Math.exp(logprobs.token_logprobs[index] ?? Number.NaN),
  }));
}

function count(total, usage) {
  const cached = usage.prompt_tokens_details?.cached_tokens ?? 0;
  total.written += usage.completion_tokens;
  total.computed += usage.prompt_tokens - cached + usage.completion_tokens;
  const details = usage.cost_details;
  total.compute_s += details?.compute_seconds ?? 0;
  total.currency = details?.currency ?? "";
  if (usage.cost !== null && usage.cost !== undefined) total.cost = (total.cost ?? 0) + usage.cost;
}
