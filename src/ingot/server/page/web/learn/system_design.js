// An experiment with an objective, a load, and caching, quantization and batching switched on and
// off: live on the served model, and as the lesson recorded it.

import { explain } from "../shared/api.js";
import { button, el } from "../shared/elements.js";
import * as format from "../shared/format.js";
import * as models from "../shared/models.js";
import { complete, gapsOf, inTurn, isInTime, serveUsers } from "../shared/timed_requests.js";
import { recordedTables, resultList } from "./served_loads.js";

const NAMES = ["caching", "quantization", "batching"];
const TOKENS = 12;
const ROUNDS = 2;
const LONG_S = 5; // a measurement of so long is not repeated
const QUIET_SPREAD = 1.5; // times further apart than this tell of other work on the machine
const QUANTIZATION =
  "Quantization uses an int8 copy of the model, which the server then serves too. A model that fits in the processor’s caches gains little from it.";
const PROMPT = "import os\n\n\ndef main(arguments):\n    for name in ";

// design: the lesson's proposals; record: what the lesson measured.
export function systemDesign(design, record) {
  const number = (id, value, most) =>
    el("input", { id, type: "number", min: "0", max: most, step: "any", value });
  const first = number("objective-first", "", 3_600_000);
  const gap = number("objective-gap", "", 60_000);
  const users = el("input", { id: "load-users", type: "number", min: 1, max: design.most_users });
  users.value = design.users;
  const price = number("load-price", design.price_per_hour, 1e6);
  const inputs = NAMES.map((name) => el("input", { name, type: "checkbox" }));
  const status = el("p", { class: "help", role: "status" });
  const shown = el("div", { "aria-live": "polite" });
  const results = [];
  let stop = null;

  const chosen = () => ({
    users: Math.min(Math.max(Math.round(Number(users.value)) || 1, 1), design.most_users),
    objective: { first: Number(first.value) / 1000, gap: Number(gap.value) / 1000 },
    price: Number(price.value),
  });
  const measure = async (settings) => {
    if (stop) {
      stop.abort();
      return;
    }
    stop = new AbortController();
    const labels = triggers.map((trigger) => trigger.textContent);
    triggers[0].textContent = "Stop";
    triggers[1].disabled = true;
    try {
      for (const names of settings) {
        const load = { ...chosen(), names };
        users.value = load.users;
        const tell = (text) => status.replaceChildren(text);
        const { signal } = stop;
        results.unshift(await inTurn(() => measured(load, signal, tell)));
        shown.replaceChildren(resultList(results));
      }
      status.textContent = "";
    } catch (error) {
      status.textContent = error.name === "AbortError" ? "Stopped." : explain(error);
    }
    triggers[1].disabled = false;
    triggers[0].textContent = labels[0];
    stop = null;
  };
  const one = () => measure([inputs.filter(({ checked }) => checked).map(({ name }) => name)]);
  const all = () => {
    const names = inputs.filter(({ disabled }) => !disabled).map(({ name }) => name);
    return measure([...names.keys(), names.length].map((count) => names.slice(0, count)));
  };
  const triggers = [
    button("Serve them", one, { class: "primary" }),
    button("Each switch in turn", all),
  ];
  const note = el("p", { class: "help" }, QUANTIZATION);
  allowQuantization(inputs[NAMES.indexOf("quantization")], note);
  inTurn(() => propose(design, first, gap, status));
  const field = (input, text, unit) =>
    el("div", { class: "control" }, el("label", { for: input.id }, text), input, ` ${unit}`);
  return el(
    "div",
    { class: "experiment system-design" },
    el(
      "div",
      { class: "controls" },
      field(first, "First token within", "ms"),
      field(gap, "Then a token every", "ms"),
      field(users, "People at once", `of ${design.most_users}`),
      field(price, "Price of the machine", "an hour"),
    ),
    el(
      "div",
      { class: "switches" },
      inputs.map((input) => el("label", {}, input, ` ${capital(input.name)}`)),
    ),
    el("div", { class: "toolbar" }, triggers),
    status,
    shown,
    note,
    recordedTables(record),
  );
}

// Where the served model is quantized already there is nothing to switch on.
async function allowQuantization(input, note) {
  const facts = await models.facts(await models.selected()).catch(() => null);
  if (!facts?.quantized) return;
  input.disabled = true;
  note.textContent = `This model is sealed in ${facts.format} already, so quantization cannot be switched on or off here.`;
}

// Proposes an objective from what one user alone gets now, unless the reader was faster.
async function propose(design, first, gap, status) {
  status.textContent = "Measuring one user alone…";
  try {
    const model = await models.selected();
    const alone = { caching: true, batching: true };
    await complete(model, PROMPT, { tokens: 1 }); // warm-up
    const rounds = [];
    for (let round = 0; round < 3; round += 1)
      rounds.push(await serveUsers(model, [PROMPT], TOKENS, alone));
    const seconds = Math.min(...rounds.map((each) => each.seconds));
    // Several tokens may come in one write, so the gaps differ: the longest is what a user notices.
    const between = Math.min(...rounds.map(({ times }) => Math.max(...gapsOf(times[0]))));
    const milliseconds = (value) => String(Number((1000 * value).toPrecision(2)));
    first.value ||= milliseconds(design.answers_waited * seconds);
    gap.value ||= milliseconds(design.gaps_waited * Math.max(between, 0.0005));
    status.textContent = `One user alone has an answer of ${TOKENS} tokens after ${format.seconds(seconds)}. The objective above follows from that; set another one.`;
  } catch (error) {
    status.textContent = explain(error);
  }
}

// Serves a load; on a machine at rest twice, of which the faster is taken.
async function measured({ names, users, objective, price }, signal, tell) {
  const label = names.join(" + ") || "all off";
  tell(`Measuring ${label}…`);
  const settings = Object.fromEntries(names.map((name) => [name, true]));
  const sealed = await models.selected();
  const model = settings.quantization ? await models.quantize(sealed) : sealed;
  const prompts = Array(users).fill(PROMPT);
  const onAnswer = (count) => tell(`Measuring ${label}: ${count} of ${users} answered…`);
  const rounds = [];
  do {
    rounds.push(await serveUsers(model, prompts, TOKENS, settings, { signal, onAnswer }));
  } while (rounds.length < ROUNDS && rounds[0].seconds < LONG_S);
  rounds.sort((a, b) => a.seconds - b.seconds);
  const [{ seconds, times }] = rounds;
  return {
    label,
    seconds,
    users,
    objective,
    inTime: times.map((each) => isInTime(each, objective)),
    cost: ((price / 3600) * seconds * 1e6) / (users * TOKENS),
    firstToken: median(times.map(([each]) => each)),
    gap: median(times.map((each) => (each.at(-1) - each[0]) / (each.length - 1))),
    busy: rounds.at(-1).seconds > QUIET_SPREAD * seconds ? rounds.at(-1).seconds : null,
  };
}

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

const capital = (name) => name[0].toUpperCase() + name.slice(1);
