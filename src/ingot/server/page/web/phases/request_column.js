// The right column: requests of several users to the sealed model.

import { explain, json } from "../shared/api.js";
import { button, el } from "../shared/elements.js";
import * as format from "../shared/format.js";
import * as models from "../shared/models.js";
import { pause } from "../shared/motion.js";
import { answerUsers } from "./answer_users.js";
import { Bill } from "./bill.js";
import { CacheGrid } from "./cache_grid.js";
import { MemoryBar } from "./memory_bar.js";
import { row, stages } from "./rows.js";
import { WeightPicture } from "./weight_picture.js";

const STAGES = ["read", "predict", "append"];
const PROMPTS = ["The", "When the", "In a", "It is", "def main", "We", "If you", "A new"];
const TOKENS = 24;
const STEP_MS = 45; // between two steps on the screen, whatever they took
const PATIENCE_MS = 1500; // slower answers are shown while they arrive

export class RequestColumn {
  constructor(scale) {
    const names = ["caching", "batching", "quantization"];
    this.switches = Object.fromEntries(
      names.map((name) => [
        name,
        el("input", { type: "checkbox", name, checked: name !== "quantization" }),
      ]),
    );
    this.start = button(`Serve: ${PROMPTS.length} users`, () => this.run(), {
      id: "phase-serve",
    });
    this.status = el("p", { class: "status", role: "status" });
    this.stages = stages(STAGES);

    this.lanes = el("ol", { class: "lanes", "aria-label": "The users' texts" });
    this.batch = el(
      "div",
      { class: "batch", "aria-hidden": "true" },
      PROMPTS.map((_, user) => el("span", { class: `dot user-${user}` })),
    );
    this.prediction = el("p", { class: "big" }, "–");
    this.picture = new WeightPicture("The sealed weights that are served");
    this.lock = el("p", { class: "lock" }, "Locked.");
    this.memory = new MemoryBar(scale, { served: "weights", cache: "key-value cache" });
    this.cache = new CacheGrid();
    this.bill = new Bill();
    this.element = el(
      "section",
      { class: "phase-column inference", "aria-label": "Inference" },
      el(
        "div",
        { class: "head" },
        el("h3", {}, "Inference"),
        el(
          "p",
          { class: "help" },
          "Reads the weights and answers. For everyone, as often as asked.",
        ),
        el(
          "fieldset",
          { class: "switches" },
          el("legend", {}, "How it is served"),
          names.map((name) => el("label", {}, this.switches[name], ` ${capital(name)}`)),
        ),
        el("div", { class: "toolbar" }, this.start),
        this.status,
      ),
      row("Text", this.stages.element, this.lanes),
      row("Prediction, with nothing to compare", this.prediction, this.batch),
      row("The same weights", this.picture.element, this.lock),
      row("Memory", this.memory.element, this.cache.element),
      row("Bill", this.bill.element),
    );
    this.blockSize = 16;
    this.showLanes();
  }

  async show(picture, facts) {
    this.picture.show(picture);
    this.facts = facts;
    const { quantization } = this.switches;
    quantization.disabled = facts.quantized;
    quantization.checked &&= !facts.quantized;
    quantization.parentElement.title = facts.quantized ? `Sealed in ${facts.format} already` : "";
    this.memory.set({ served: facts.memory_bytes, cache: 0 });
    this.lock.replaceChildren(el("b", {}, "Locked"), `, digest ${facts.digest.slice(0, 8)}`);
    this.blockSize = (await batchOf(facts.name))?.batch.block_size ?? this.blockSize;
  }

  showLanes() {
    this.texts = PROMPTS.map((prompt) =>
      el("span", { class: "lane-text" }, el("span", { class: "prompt" }, prompt)),
    );
    const lanes = this.texts.map((text, user) => el("li", { class: `user-${user}` }, text));
    this.lanes.replaceChildren(...lanes);
  }

  // One stage of what moves before the first run; null ends it.
  idle(tick, ms) {
    const stage = tick === null ? null : STAGES[tick % STAGES.length];
    this.stages.at(stage);
    if (stage === "predict") this.picture.sweep(ms, false);
  }

  async run() {
    this.start.disabled = true;
    this.status.classList.remove("error");
    try {
      await this.answer();
    } catch (error) {
      this.status.textContent = explain(error);
      this.status.classList.add("error");
    }
    this.stages.at(null);
    this.picture.read(null);
    this.start.disabled = false;
  }

  async answer() {
    const chosen = Object.keys(this.switches).filter((name) => this.switches[name].checked);
    const settings = Object.fromEntries(chosen.map((name) => [name, true]));
    this.status.textContent = settings.quantization ? "An int8 copy is loaded…" : "Answering…";
    const sealed = await models.selected();
    const model = settings.quantization ? await models.quantize(sealed) : sealed;
    const facts = await json(`ingots/${encodeURIComponent(model.id)}`);
    const lengths = await Promise.all(PROMPTS.map((prompt) => lengthOf(model, prompt)));
    const before = await digestOf(model);
    this.showLanes();
    this.lengths = lengths;
    this.written = lengths.map(() => 0);
    this.cache.reset(lengths, Math.max(...lengths) + TOKENS, this.blockSize);
    this.facts = facts;
    this.memory.set({ served: facts.memory_bytes, cache: 0 });
    const steps = await stepsOf(model);
    const queue = [];
    let result = null;
    const measured = answerUsers(model, PROMPTS, TOKENS, settings, (step) => queue.push(step)).then(
      (total) => {
        result = total;
      },
    );
    await Promise.race([measured, new Promise((resume) => setTimeout(resume, PATIENCE_MS))]);
    this.status.textContent = "";
    await this.play(queue, () => result, settings.caching, measured);
    await measured;
    await this.showSteps(model, result.written, steps);
    this.bill.add({ names: chosen, users: PROMPTS.length, ...result });
    this.status.textContent = `Done: ${format.whole(result.written)} tokens in ${format.seconds(result.seconds)}.`;
    this.showLock(before, await digestOf(model));
    this.result = result;
    this.onResult?.(result.seconds / PROMPTS.length);
  }

  // Shows the steps in `queue` at an even pace until all are shown and `done()` says so.
  async play(queue, done, caching, measured) {
    let shown = 0;
    while (queue.length || !done()) {
      const step = queue.shift();
      if (!step) {
        await Promise.race([measured, new Promise((resume) => setTimeout(resume, STEP_MS))]);
        continue;
      }
      this.showStep(step, caching);
      this.picture.read((shown % 8) / 8);
      this.stages.at(shown ? (shown % 2 ? "append" : "predict") : "read");
      shown += 1;
      await pause(STEP_MS);
    }
  }

  showStep(step, caching) {
    const active = new Set(step.map(({ user }) => user));
    for (const [user, dot] of [...this.batch.children].entries())
      dot.classList.toggle("on", active.has(user));
    for (const { user, text, p } of step) {
      const token = el("span", { class: "fresh" }, text);
      if (p !== null) token.title = `probability ${(100 * p).toFixed(1)}%`;
      this.texts[user].append(token);
      this.texts[user].scrollLeft = this.texts[user].scrollWidth;
      this.written[user] += 1;
      // The last token of a text is sampled but not yet run, so it has no keys and values.
      if (!caching) this.cache.empty(user);
      this.cache.fill(user, this.lengths[user] + this.written[user] - 1);
    }
    this.memory.set({ cache: this.cache.held() * this.facts.kv_bytes_per_token });
    this.showPrediction(
      format.whole(step.length),
      ` ${step.length > 1 ? "tokens" : "token"} in one step`,
    );
  }

  // The engine's own count of its steps, of all requests.
  async showSteps(model, written, before) {
    const after = await stepsOf(model);
    if (before === null || after === null || after <= before) return;
    const steps = after - before;
    this.showPrediction(
      format.short(written / steps),
      ` tokens a step: ${format.whole(written)} in ${format.whole(steps)} steps`,
    );
  }

  showPrediction(number, unit) {
    this.prediction.replaceChildren(
      el("span", { class: "number" }, number),
      el("span", { class: "unit" }, unit),
    );
  }

  showLock(before, after) {
    if (!before || !after) {
      this.lock.textContent = "Rounded when it was loaded: there is no sealed digest to compare.";
      return;
    }
    const same = before.memory === after.memory;
    this.lock.replaceChildren(
      el("b", {}, same ? "No weight changed" : "The weights changed"),
      `: the server hashed all of them before and after. They are ${after.ok ? "" : "not "}those sealed under digest ${this.facts.digest.slice(0, 8)}.`,
    );
  }
}

const capital = (name) => name[0].toUpperCase() + name.slice(1);

// A model's entry of /admin/batch; null where the server keeps its batch to itself.
async function batchOf(name) {
  try {
    const { models: batches } = await json("admin/batch");
    return batches.find((each) => each.model === name) ?? null;
  } catch (error) {
    if (error.status === 403) return null;
    throw error;
  }
}

const stepsOf = async (model) => (await batchOf(model.id))?.steps ?? null;

async function lengthOf(model, prompt) {
  return (await json("tokenize", { body: { model: model.id, prompt } })).count;
}

// The digest of the weights in the server's memory; null where they were rounded when loaded.
async function digestOf(model) {
  try {
    return await models.verify(model);
  } catch (error) {
    if (error.status === 409) return null;
    throw error;
  }
}
