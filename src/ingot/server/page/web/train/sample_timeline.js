// The samples that a run wrote while it trained, one at a time along its updates.

import { el } from "../shared/elements.js";
import * as format from "../shared/format.js";

export class SampleTimeline {
  constructor() {
    this.title = el("h3", {});
    this.slider = el("input", { type: "range", min: 0, on: { input: () => this.draw() } });
    this.when = el("output", {});
    this.text = el("pre", {});
    this.element = el(
      "section",
      { class: "samples" },
      this.title,
      el("div", { class: "field" }, this.slider, this.when),
      this.text,
    );
    this.count = 0;
  }

  show(run) {
    const followed = Number(this.slider.value) >= this.count - 1; // the newest stays the newest
    this.run = run;
    this.count = run.samples.length;
    this.title.textContent = `Samples written by ${run.name} during training`;
    this.slider.setAttribute("aria-label", `Sample of ${run.name}`);
    this.slider.max = this.count - 1;
    if (followed) this.slider.value = this.count - 1;
    this.element.hidden = !this.count;
    if (this.count) this.draw();
  }

  draw() {
    const { step, prompt, text } = this.run.samples[Number(this.slider.value)];
    const loss = this.run.steps.findLast((each) => each.step <= step)?.loss;
    const told = loss === undefined ? "" : `, loss ${loss.toFixed(2)}`;
    this.when.textContent = `after ${format.whole(step)} updates${told}`;
    this.text.replaceChildren(el("span", { class: "prompt" }, String(prompt)), text);
  }
}
