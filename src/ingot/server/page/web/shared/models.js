// The served models and the one that the page uses.

import { json } from "./api.js";

let list = [];
let selectedId = null;
const listeners = [];

export const all = () => list;
export const current = () => list.find((model) => model.id === selectedId) ?? list[0] ?? null;
export const byName = (name) => list.find((model) => model.id === name) ?? current();

// Calls `listener` whenever the list or the selection changes.
export function onChange(listener) {
  listeners.push(listener);
}

export function select(name) {
  selectedId = name;
  for (const listener of listeners) listener();
}

export async function load() {
  list = (await json("v1/models")).data;
  select(list.some((model) => model.id === selectedId) ? selectedId : (list[0]?.id ?? null));
  return current();
}

// Returns the selected model; fetches the list first if it was not fetched yet.
export async function selected() {
  return current() ?? (await load());
}

// Returns a model's provenance, sizes and FLOPs. Fetched once per digest, which names them all.
const factsByDigest = new Map();
export async function facts(model) {
  if (!factsByDigest.has(model.digest)) {
    const path = `ingots/${encodeURIComponent(model.id)}`;
    factsByDigest.set(model.digest, await json(path));
  }
  return factsByDigest.get(model.digest);
}

// Returns the facts if they were fetched already.
export const knownFacts = (model) => factsByDigest.get(model?.digest) ?? null;

// Asks the server to serve an int8 copy beside a model; returns the copy.
export async function quantize(model) {
  const { id } = await json("admin/quantize", { body: { model: model.id } });
  if (!list.some((each) => each.id === id)) await load();
  return byName(id);
}

// Asks the server to hash the weights in its memory; returns whether they match the manifest
// and one digest over all of them, or null where the browser computes none (it needs https, or this
// machine's own name).
export async function verify(model) {
  const answer = await json("admin/verify", { body: { model: model.id } });
  const names = Object.keys(answer.tensors);
  if (!crypto.subtle) return { ok: answer.verified, tensors: names.length, memory: null };
  const lines = names.map((name) => `${name}\n${answer.tensors[name]}\n`).join("");
  const bits = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(lines));
  const hex = [...new Uint8Array(bits)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return { ok: answer.verified, tensors: names.length, memory: hex };
}
