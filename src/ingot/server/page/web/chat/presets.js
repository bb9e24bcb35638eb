// Presets: sets of sampling settings under a name, of ours and of the user's.

import { PARAMETERS } from "./parameters.js";

const KEY = "ingot.presets";
const FIELDS = ["temperature", "top-p", "top-k", "min-p", "repetition", "max-tokens", "system"];
const MAX_PRESETS = 50;

// A preset of ours changes how tokens are chosen, and nothing that the user wrote.
const BASE = { temperature: "1", "top-p": "1", "top-k": "0", "min-p": "0", repetition: "1" };
const OURS = [
  { name: "Precise", values: { ...BASE, temperature: "0" } },
  { name: "Balanced", values: { ...BASE, temperature: "0.7", "top-p": "0.95" } },
  { name: "Creative", values: { ...BASE, temperature: "1.1", "min-p": "0.05" } },
];

let recommended = []; // of the model, if it recommends anything

// Takes over what a model recommends: sampling parameters by their names in a request.
export function recommend(generation) {
  const values = { ...BASE };
  const known = PARAMETERS.filter(({ field, id }) => field in generation && id in BASE);
  for (const { field, id } of known) values[id] = String(generation[field]);
  recommended = known.length ? [{ name: "As recommended", values }] : [];
}

export function all() {
  return [...recommended, ...OURS, ...own()];
}

export function own() {
  try {
    const stored = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return stored.filter(isValid).slice(0, MAX_PRESETS);
  } catch {
    return []; // from another version, or damaged
  }
}

const isValid = (preset) =>
  typeof preset?.name === "string" &&
  typeof preset.values === "object" &&
  Object.values(preset.values ?? {}).every((value) => typeof value === "string");

// Keeps the settings as a preset; one of the same name is replaced. Returns whether it is kept.
export function save(name, settings) {
  const values = Object.fromEntries(FIELDS.map((field) => [field, settings[field]]));
  const others = own().filter((preset) => preset.name !== name);
  return store([...others, { name, values }]);
}

export function remove(name) {
  return store(own().filter((preset) => preset.name !== name));
}

function store(presets) {
  try {
    localStorage.setItem(KEY, JSON.stringify(presets));
    return true;
  } catch {
    return false;
  }
}

// The preset that the settings are; null where they are none.
export function matching(settings) {
  const same = ({ values }) =>
    Object.entries(values).every(([field, value]) => {
      const current = settings[field] ?? "";
      return current === value || (value !== "" && Number(current) === Number(value));
    });
  return all().findLast(same) ?? null;
}
