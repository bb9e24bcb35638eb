// Memory as a bar of parts. Both columns' bars share one scale, so that their lengths compare.

import { el } from "../shared/elements.js";
import * as format from "../shared/format.js";

export class MemoryScale {
  constructor() {
    this.bars = [];
  }

  add(bar) {
    this.bars.push(bar);
  }

  redraw() {
    const largest = Math.max(...this.bars.map((bar) => bar.total()), 1);
    for (const bar of this.bars) bar.draw(largest);
  }
}

export class MemoryBar {
  // names: { key: what a part is called }, in their order.
  constructor(scale, names, when = "in all") {
    this.scale = scale;
    this.when = when;
    this.parts = Object.entries(names).map(([key, name]) => ({
      key,
      name,
      value: 0,
      segment: el("span", { class: `part ${key}` }),
      label: el("dd", {}, "–"),
    }));
    this.sum = el("p", { class: "sum" });
    this.element = el(
      "div",
      { class: "memory" },
      el(
        "div",
        { class: "track", "aria-hidden": "true" },
        this.parts.map(({ segment }) => segment),
      ),
      el(
        "dl",
        { class: "parts" },
        this.parts.map(({ key, name, label }) =>
          el("div", {}, el("dt", { class: `key ${key}` }, name), label),
        ),
      ),
      this.sum,
    );
    scale.add(this);
  }

  set(values) {
    for (const part of this.parts) if (part.key in values) part.value = values[part.key];
    this.scale.redraw();
  }

  total() {
    return this.parts.reduce((sum, { value }) => sum + value, 0);
  }

  draw(largest) {
    for (const { segment, label, value } of this.parts) {
      segment.style.width = `${(100 * value) / largest}%`;
      label.textContent = value ? format.bytes(value) : "none";
    }
    const filled = this.parts.filter(({ value }) => value).length;
    this.sum.textContent = `${format.bytes(this.total())} ${filled > 1 ? this.when : "in all"}`;
  }
}
