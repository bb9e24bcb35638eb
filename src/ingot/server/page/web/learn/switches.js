// An experiment with caching, quantization and batching switched on and off: live on the served
// model, and as the lesson recorded it.

import { explain } from "../shared/api.js";
import { button, el, table } from "../shared/elements.js";
import * as format from "../shared/format.js";
import * as models from "../shared/models.js";
import { completeAll, secondsSince } from "../shared/timed_requests.js";

const NAMES = ["caching", "quantization", "batching"];
const COLUMNS = ["switches", "tokens/s", "all done after", "times as fast"];
const USERS = 8;
const TOKENS = 12;
const ROUNDS = 2;
const QUIET_SPREAD = 1.5; // times further apart than this tell of other work on the machine
const PROMPT =
  "import os\nimport sys\n\n\ndef main(arguments):\n    for name in arguments:\n        print(name)\n";

// record: what the lesson measured, or null to show the live experiment alone.
export function optimizationSwitches(record) {
  const inputs = NAMES.map((name) => el("input", { name, type: "checkbox" }));
  const [caching, quantization, batching] = inputs;
  const results = [];
  const shown = el("div", { "aria-live": "polite" });
  const measure = async () => {
    trigger.disabled = true;
    try {
      const names = inputs.filter((input) => input.checked).map((input) => input.name);
      const times = [];
      for (let round = 0; round < ROUNDS; round += 1)
        times.push(await answerAll(caching.checked, quantization.checked, batching.checked));
      results.push({ names, seconds: Math.min(...times), slowest: Math.max(...times) });
      shown.replaceChildren(
        table("Live, on the model served here", COLUMNS, rowsOf(results)),
        ...busyNotes(results),
      );
    } catch (error) {
      shown.replaceChildren(el("p", { class: "status error" }, explain(error)));
    }
    trigger.disabled = false;
  };
  const trigger = button(`Answer ${USERS} users`, measure, { class: "primary" });
  const labelled = (input, text) => el("label", {}, input, ` ${text}`);
  return el(
    "div",
    { class: "experiment" },
    el(
      "div",
      { class: "switches" },
      labelled(caching, "Caching"),
      labelled(quantization, "Quantization"),
      labelled(batching, "Batching"),
    ),
    el(
      "p",
      { class: "help" },
      "Quantization uses an int8 copy of the model, which the server then serves too. A model that fits in the processor’s caches gains little from it.",
    ),
    trigger,
    shown,
    recordedTable(record),
  );
}

// Says so if the same measurement took very different times.
function busyNotes(results) {
  const disturbed = results.filter(({ seconds, slowest }) => slowest > QUIET_SPREAD * seconds);
  return disturbed.map(({ names, seconds, slowest }) =>
    el(
      "p",
      { class: "busy" },
      `The machine is busy: “${names.join(" + ") || "all off"}” took ${format.seconds(seconds)} and ${format.seconds(slowest)}. The shorter time is shown.`,
    ),
  );
}

function rowsOf(results) {
  return results.map(({ names, seconds, tokens = USERS * TOKENS }) => [
    names.join(" + ") || "all off",
    format.whole(tokens / seconds),
    format.seconds(seconds),
    (results[0].seconds / seconds).toFixed(1),
  ]);
}

// Returns the seconds until every user has an answer. Without caching each token is requested
// with all of the text before it, under a new salt, which keeps it out of the prefix cache.
async function answerAll(caching, quantization, batching) {
  const sealed = await models.selected();
  const model = quantization ? await models.quantize(sealed) : sealed;
  const prompts = Array(USERS).fill(PROMPT);
  if (caching) {
    const options = () => ({ tokens: TOKENS, temperature: 0 });
    return (await completeAll(model, prompts, options, batching)).seconds;
  }
  const options = () => ({ tokens: 1, temperature: 0, salt: crypto.randomUUID() });
  const started = performance.now();
  const groups = batching ? [prompts] : prompts.map((prompt) => [prompt]);
  for (let texts of groups) {
    for (let token = 0; token < TOKENS; token += 1) {
      const { answers } = await completeAll(model, texts, options, true);
      texts = texts.map((text, index) => text + answers[index].text);
    }
  }
  return secondsSince(started);
}

function recordedTable(record) {
  if (!record || record.missing) return null;
  const results = record.switches.map(({ switches, timing }) => ({
    names: Object.keys(switches).filter((name) => switches[name]),
    seconds: timing.seconds,
    tokens: timing.tokens,
  }));
  const parameters = format.scaled(record.switches_parameters);
  const caption = `All three, recorded by the lesson on a model of ${parameters} weights`;
  return table(caption, COLUMNS, rowsOf(results));
}
