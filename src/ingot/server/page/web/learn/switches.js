// Three switches, tried live on the served model, and as the lesson recorded them.

import { explain } from "../api.js";
import { many } from "../ask.js";
import { button, el, table } from "../dom.js";
import * as format from "../format.js";
import * as models from "../models.js";

const NAMES = ["caching", "quantization", "batching"];
const USERS = 8;
const TOKENS = 12;
const TEXT = "import os\nimport sys\n\n\ndef main(arguments):\n    for name in arguments:\n        print(name)\n";

// record: what the lesson measured, or null to show the live switches alone.
export function switches(record) {
  const [caching, quantization, batching] = NAMES.map((name) => el("input", { name, type: "checkbox" }));
  const rows = [];
  const shown = el("div", { "aria-live": "polite" });
  const trigger = button(`Let ${USERS} users ask`, async () => {
    trigger.disabled = true;
    try {
      rows.push(await tried({ caching: caching.checked, quantization: quantization.checked, batching: batching.checked }));
      shown.replaceChildren(table("Live, on the model served here", ["switches", "tokens/s", "all done after", "times as fast"], rows.map(({ name, seconds }) =>
        [name, format.whole((USERS * TOKENS) / seconds), format.seconds(seconds), (rows[0].seconds / seconds).toFixed(1)])));
    } catch (error) {
      shown.replaceChildren(el("p", { class: "status error" }, explain(error)));
    }
    trigger.disabled = false;
  }, { class: "primary" });
  const line = (control, text) => el("label", {}, control, ` ${text}`);
  return el(
    "div",
    { class: "experiment" },
    el("div", { class: "switches" }, line(caching, "Caching"), line(quantization, "Quantization"), line(batching, "Batching")),
    el("p", { class: "help" }, "Quantization asks a copy of the model in int8, which is then served too. A model that fits in the processor’s caches gains little by it."),
    trigger,
    shown,
    recorded(record),
  );
}

// Without caching every token is asked for anew, with all of the text before it, and the prefix
// cache is kept out by a salt of its own for every question.
async function tried(on) {
  const { caching, quantization, batching } = on;
  const name = NAMES.filter((each) => on[each]).join(" + ") || "all off";
  const sealed = await models.needed();
  const model = quantization ? await models.quantize(sealed) : sealed;
  if (caching) {
    const { seconds } = await many(model, Array(USERS).fill(TEXT), () => ({ tokens: TOKENS, temperature: 0 }), batching);
    return { name, seconds };
  }
  const started = performance.now();
  const groups = batching ? [Array(USERS).fill(TEXT)] : Array(USERS).fill([TEXT]);
  for (let texts of groups) {
    for (let token = 0; token < TOKENS; token += 1) {
      const { answers } = await many(model, texts, () => ({ tokens: 1, temperature: 0, salt: crypto.randomUUID() }), true);
      texts = texts.map((text, place) => text + answers[place].text);
    }
  }
  return { name, seconds: (performance.now() - started) / 1000 };
}

function recorded(record) {
  if (!record || record.missing) return null;
  const first = record.switches[0].timing.seconds;
  return table(`All three, recorded by the lesson on a model of ${format.scaled(record.switches_parameters)} weights`, ["switches", "tokens/s", "all done after", "times as fast"], record.switches.map(({ switches: on, timing }) => [
    Object.keys(on).filter((name) => on[name]).join(" + ") || "all off",
    format.whole(timing.tokens / timing.seconds),
    format.seconds(timing.seconds),
    (first / timing.seconds).toFixed(1),
  ]));
}
