// The view Two phases: the cost of training a model once and of serving it, measured live.

import { explain } from "../shared/api.js";
import { button, el, table } from "../shared/elements.js";
import * as format from "../shared/format.js";
import { phaseTable, readRecord } from "../shared/lesson_record.js";
import * as models from "../shared/models.js";
import { optimizationSwitches } from "../shared/optimization_switches.js";
import { complete, completeAll, secondsSince } from "../shared/timed_requests.js";

const ANSWER_TOKENS = 32;
const CONCURRENT = 16;
const MAX_ANSWERS = 10_000;

let facts = null;
let costs = null;
let digests = null;
let recorded = null;

export function open(view) {
  [facts, costs, digests, recorded] = Array.from({ length: 4 }, () =>
    el("div", { "aria-live": "polite" }),
  );
  const count = el("input", {
    id: "digest-count",
    type: "number",
    min: 1,
    max: MAX_ANSWERS,
    value: 100,
    inputmode: "numeric",
  });
  const primary = { class: "primary" };
  view.append(
    el("h2", {}, "One model, two phases"),
    facts,
    el("h2", {}, "Do the weights change?"),
    el(
      "p",
      { class: "lead" },
      "The server hashes every weight in its memory, answers, and hashes them again.",
    ),
    el(
      "div",
      { class: "toolbar" },
      el("label", { for: "digest-count" }, "Answers"),
      count,
      button(
        "Answer and compare",
        (event) => run(event.target, digests, () => compareDigests(Number(count.value))),
        primary,
      ),
    ),
    digests,
    el("h2", {}, "When has serving cost more than training?"),
    el(
      "p",
      { class: "lead" },
      `An answer of ${ANSWER_TOKENS} tokens is timed, alone and ${CONCURRENT} at once.`,
    ),
    el(
      "div",
      { class: "toolbar" },
      button("Measure", (event) => run(event.target, costs, measureCosts), primary),
    ),
    costs,
    el("h2", {}, "What do caching, quantization and batching gain?"),
    optimizationSwitches(null),
    el("h2", {}, "Both phases, measured by the lesson"),
    recorded,
  );
  models.onChange(enter);
}

export async function enter() {
  if (!facts) return;
  try {
    const model = await models.selected();
    if (model) showFacts(await models.facts(model));
  } catch (error) {
    facts.replaceChildren(errorMessage(error));
  }
  try {
    const record = await readRecord();
    const { name, cores } = record.machine;
    recorded.replaceChildren(
      el(
        "p",
        { class: "help" },
        `Measured ${record.measured_at} on ${name}, ${cores} cores, with the lesson’s small model.`,
      ),
      phaseTable(record.phases),
    );
  } catch (error) {
    recorded.replaceChildren(el("p", { class: "lead" }, explain(error)));
  }
}

function showFacts(model) {
  const source = model.provenance;
  const ifKnown = (value, write) =>
    value === null || value === undefined ? "not known" : write(value);
  facts.replaceChildren(
    table(
      `Training and serving ${model.name}`,
      ["", "training", "inference"],
      [
        ["weights", "changed by every update", `sealed: ${format.digest(model.digest)}`],
        [
          "work for a token",
          `${format.scaled(model.training_flops_per_token)}FLOP, forward and backward`,
          `${format.scaled(model.inference_flops_per_token)}FLOP, forward only`,
        ],
        [
          "tokens",
          ifKnown(source.tokens, (value) => `${format.whole(value)} read, once`),
          "as many as users ask for",
        ],
        [
          "time",
          ifKnown(source.wall_seconds, (value) => `${format.seconds(value)}, once`),
          "a moment for every answer",
        ],
        [
          "memory for weights",
          `${format.bytes(4 * model.parameters)}, as much again for gradients, more for the optimizer`,
          format.bytes(model.weight_bytes),
        ],
        [
          "memory for text",
          "all activations that the backward pass needs",
          `${format.bytes(model.kv_bytes_per_token)} a token`,
        ],
      ],
    ),
  );
}

// Runs an experiment with its button disabled and shows what it returns.
async function run(trigger, container, experiment) {
  trigger.disabled = true;
  container.replaceChildren(el("p", { class: "status" }, "Measuring…"));
  try {
    container.replaceChildren(await experiment());
  } catch (error) {
    container.replaceChildren(errorMessage(error));
  }
  trigger.disabled = false;
}

const errorMessage = (error) => el("p", { class: "status error" }, explain(error));

async function compareDigests(count) {
  if (!(count >= 1 && count <= MAX_ANSWERS)) {
    throw new Error(`Enter a number of answers from 1 to ${format.whole(MAX_ANSWERS)}.`);
  }
  const model = await models.selected();
  const before = await models.verify(model);
  const started = performance.now();
  for (let done = 0; done < count; done += CONCURRENT) {
    const prompts = Array(Math.min(CONCURRENT, count - done)).fill("a");
    await completeAll(model, prompts, (index) => ({ tokens: 4, seed: done + index }), true);
  }
  const elapsed = format.seconds(secondsSince(started));
  const after = await models.verify(model);
  const result = before.memory === after.memory ? "unchanged" : "changed";
  const row = (name, { memory, ok }) => [name, memory.slice(0, 24), ok ? "yes" : "no"];
  return table(
    "Every weight in memory, hashed",
    ["", "digest", "as sealed"],
    [
      row("before", before),
      row(`after ${format.whole(count)} answers in ${elapsed}`, after),
      ["result", result, ""],
    ],
  );
}

async function measureCosts() {
  const model = await models.selected();
  const { provenance } = await models.facts(model);
  const options = (index) => ({ tokens: ANSWER_TOKENS, seed: index });
  await complete(model, "a", options(0)); // warm-up
  const alone = await completeAll(model, Array(3).fill("a"), options, false);
  const together = await completeAll(model, Array(CONCURRENT).fill("a"), options, true);
  const secondsEach = ({ seconds, answers }) => seconds / answers.length;
  const breakEven = (seconds) =>
    provenance.wall_seconds
      ? `${format.whole(provenance.wall_seconds / seconds)} answers`
      : "not known";
  const row = (name, each, unit = "") => [name, `${format.seconds(each)}${unit}`, breakEven(each)];
  return table(
    "Time for an answer",
    ["", "an answer takes", "serving has taken as long as training after"],
    [
      row("one user", secondsEach(alone)),
      row(`${CONCURRENT} users at once`, secondsEach(together), " of the machine"),
    ],
  );
}
