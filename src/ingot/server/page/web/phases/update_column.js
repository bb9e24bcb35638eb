// The left column: updates of a copy of the served model, in slow motion.

import { explain, json } from "../shared/api.js";
import { button, el } from "../shared/elements.js";
import * as format from "../shared/format.js";
import { jsonLines } from "../shared/json_lines.js";
import * as models from "../shared/models.js";
import { pause } from "../shared/motion.js";
import { MemoryBar } from "./memory_bar.js";
import { row, stages } from "./rows.js";
import { WeightPicture } from "./weight_picture.js";

const UPDATES = 6;
const STAGES = ["read", "predict", "compare", "change"];
const TEXT = "The cat sat on the mat. The cat sat on the hat. The cat";
const SLOW_MS = 550; // of each stage of the first update
const QUICK_MS = 160; // of the others

// Of each bar over a token: how far the model expected it, and what was missing.
const legend = () =>
  el(
    "p",
    { class: "legend" },
    el("span", { class: "expected" }, "expected"),
    el("span", { class: "missing" }, "missing: the error"),
  );

export class UpdateColumn {
  constructor(scale) {
    this.input = el("input", {
      id: "phase-text",
      type: "text",
      value: TEXT,
      maxlength: 200,
      autocomplete: "off",
      spellcheck: "false",
    });
    this.start = button(`Train: ${UPDATES} updates`, () => this.run(), {
      id: "phase-train",
    });
    this.status = el("p", { class: "status", role: "status" });
    this.stages = stages(STAGES);
    this.hasRun = false;
    this.chips = el("ol", { class: "chips", "aria-label": "The text, token by token" });
    this.loss = el("p", { class: "big" }, "–");
    this.losses = el("ol", { class: "losses", "aria-label": "Loss before each update" });
    this.picture = new WeightPicture("The weights of the copy that is trained");
    this.lock = el("p", { class: "lock" }, "Open: every update writes them.");
    this.memory = new MemoryBar(
      scale,
      {
        weights: "weights",
        gradients: "gradients",
        moments: "moments",
        activations: "activations",
      },
      "at the peak of an update",
    );
    this.bill = el("p", { class: "bill" }, "–");
    this.whole = el("p", { class: "help" });
    this.element = el(
      "section",
      { class: "phase-column training", "aria-label": "Training" },
      el(
        "div",
        { class: "head" },
        el("h3", {}, "Training"),
        el(
          "p",
          { class: "help" },
          "Reads a text and changes the weights. Once, before anyone asks.",
        ),
        el("label", { for: "phase-text" }, "Text to learn"),
        this.input,
        el("div", { class: "toolbar" }, this.start),
        this.status,
      ),
      row("Text", this.stages.element, this.chips, legend()),
      row("Prediction, compared with what came", this.loss, this.losses),
      row("Weights", this.picture.element, this.lock),
      row("Memory", this.memory.element),
      row("Bill", this.bill, this.whole),
    );
  }

  show(picture, facts) {
    this.picture.show(picture);
    this.memory.set({ weights: 4 * facts.parameters });
    const { steps, tokens, wall_seconds: seconds } = facts.provenance;
    this.whole.textContent = seconds
      ? `The whole training, once: ${format.whole(steps ?? 0)} updates, ${format.whole(tokens ?? 0)} tokens, ${format.seconds(seconds)}.`
      : "";
  }

  // Shows the text as the model reads it, before anything is measured.
  async showText(model) {
    const body = { model: model.id, prompt: this.input.value || " ", return_token_strs: true };
    const { token_strs: tokens } = await json("tokenize", { body });
    if (!this.hasRun) for (const chip of this.setTokens(tokens)) see(chip);
  }

  // One stage of what moves before the first run; null ends it.
  idle(tick, ms) {
    const stage = tick === null ? null : STAGES[tick % STAGES.length];
    this.stages.at(stage);
    if (stage === "predict") this.picture.sweep(ms, false);
    if (stage === "change") this.picture.sweep(ms, true);
  }

  async run() {
    this.hasRun = true;
    this.start.disabled = true;
    this.status.classList.remove("error");
    this.status.textContent = "A copy of the model is loaded…";
    try {
      const model = await models.selected();
      const body = { model: model.id, text: this.input.value, updates: UPDATES };
      for await (const record of jsonLines("phases/updates", body))
        await this[record.event](record);
    } catch (error) {
      this.status.textContent = explain(error);
      this.status.classList.add("error");
    }
    this.stages.at(null);
    this.start.disabled = false;
  }

  // Puts the text's tokens in their row, each under an empty gauge; returns their elements.
  setTokens(tokens) {
    this.chips.classList.remove("compared");
    this.bars = tokens.map(() => el("span", { class: "bar" }));
    const chips = tokens.map((token, index) =>
      el(
        "li",
        { class: "token-chip" },
        el("span", { class: "gauge", "aria-hidden": "true" }, index ? this.bars[index] : null),
        el("span", { class: "token-text" }, format.token(token)),
      ),
    );
    this.chips.replaceChildren(...chips);
    return chips;
  }

  async started({ tokens, weights, weight_bytes, digest }) {
    this.weights = weights;
    this.digest = digest;
    this.seconds = 0;
    this.tokens = tokens.length - 1;
    this.losses.replaceChildren();
    this.memory.set({ weights: weight_bytes, gradients: 0, moments: 0, activations: 0 });
    this.status.textContent = "";
    this.stages.at("read");
    for (const chip of this.setTokens(tokens)) {
      see(chip);
      await pause(SLOW_MS / 12);
    }
  }

  async predicted({ step, loss, tokens, activation_bytes, seconds }) {
    this.wait = step === 1 ? SLOW_MS : QUICK_MS;
    this.seconds += seconds;
    this.stages.at("predict");
    for (const [index, { p, guess, guess_p }] of tokens.entries()) {
      const bar = this.bars[index + 1];
      bar.style.height = `${100 * p}%`;
      bar.parentElement.parentElement.title = `probability ${(100 * p).toFixed(1)}%; likeliest: ${format.token(guess)}, ${(100 * guess_p).toFixed(1)}%`;
    }
    this.activations = activation_bytes;
    this.memory.set({ activations: activation_bytes });
    await pause(this.wait);
    this.stages.at("compare");
    this.chips.classList.add("compared");
    this.showLoss(loss, step);
    await pause(this.wait);
  }

  async compared({ gradient_bytes, seconds }) {
    this.seconds += seconds;
    this.gradients = gradient_bytes;
    this.memory.set({ gradients: gradient_bytes });
    await pause(this.wait);
  }

  async updated({ step, changed, cells, optimizer_bytes, digest, seconds }) {
    this.seconds += seconds;
    this.stages.at("change");
    this.memory.set({ moments: optimizer_bytes });
    this.lock.replaceChildren(
      el("b", {}, `${format.whole(changed)} of ${format.whole(this.weights)} weights changed`),
      `, the digest of the copy from ${this.digest.slice(0, 8)} to ${digest.slice(0, 8)}`,
    );
    this.bill.textContent = `${format.seconds(this.seconds / step)} an update of ${this.tokens} tokens, on one core`;
    this.peak = { gradients: this.gradients, activations: this.activations };
    await this.picture.light(cells);
    this.memory.set({ gradients: 0, activations: 0 }); // released until the next update
    await pause(this.wait);
  }

  async ended({ tokens, loss }) {
    for (const [index, { p }] of tokens.entries())
      this.bars[index + 1].style.height = `${100 * p}%`;
    this.showLoss(loss, null);
    this.memory.set(this.peak);
    this.status.textContent = `Done: ${UPDATES} updates in ${format.seconds(this.seconds)}, shown slower. The copy is thrown away.`;
  }

  failed({ message }) {
    throw new Error(message);
  }

  showLoss(loss, step) {
    this.first = step === 1 ? loss : this.first;
    this.loss.replaceChildren(
      el("span", { class: "number" }, loss.toFixed(2)),
      el("span", { class: "unit" }, " nats of surprise a token"),
    );
    const bar = el("span", { class: "bar" });
    bar.style.height = `${Math.min(100, (100 * loss) / this.first)}%`;
    const place = el("span", { class: "place", "aria-hidden": "true" }, bar);
    this.losses.append(el("li", {}, place, el("span", {}, loss.toFixed(2))));
  }
}

const see = (chip) => chip.classList.add("seen");
