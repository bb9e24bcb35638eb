// The models that are served, and which one the page talks to.

import { json } from "./api.js";

let list = [];
let chosen = null;
const listeners = [];

export const all = () => list;
export const current = () => list.find((model) => model.id === chosen) ?? list[0] ?? null;
export const byName = (name) => list.find((model) => model.id === name) ?? current();

// Calls `act` whenever the list or the choice changes.
export function onChange(act) {
  listeners.push(act);
}

export function choose(name) {
  chosen = name;
  for (const act of listeners) act();
}

export async function load() {
  list = (await json("v1/models")).data;
  if (!list.some((model) => model.id === chosen)) chosen = list[0]?.id ?? null;
  for (const act of listeners) act();
  return current();
}

export async function needed() {
  return current() ?? (await load());
}

// What was sealed with a model: provenance, sizes, work. Fetched once for each digest.
const known = new Map();
export async function facts(model) {
  if (!known.has(model.digest)) known.set(model.digest, await json(`ingots/${encodeURIComponent(model.id)}`));
  return known.get(model.digest);
}

// Asks the server to serve an int8 copy beside a model; returns the copy.
export async function quantize(model) {
  const { id } = await json("admin/quantize", { body: { model: model.id } });
  if (!list.some((each) => each.id === id)) await load();
  return byName(id);
}

// Asks the server to hash the weights in its memory; says whether they are those that were sealed.
export async function verify(model) {
  const answer = await json("admin/verify", { body: { model: model.id } });
  const names = Object.keys(answer.tensors);
  const all = names.map((name) => `${name}\n${answer.tensors[name]}\n`).join("");
  const bits = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(all));
  const hex = [...new Uint8Array(bits)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return { ok: answer.verified, tensors: names.length, memory: hex };
}
