// The bill of each setting of the switches, as bars that compare.

import { el } from "../shared/elements.js";
import * as format from "../shared/format.js";

export class Bill {
  constructor() {
    this.entries = [];
    this.element = el("div", { class: "bill" }, "–");
  }

  // entry: { names, users, seconds, written, computed, cost, currency }
  add(entry) {
    const label = entry.names.join(" + ") || "all off";
    this.entries = [...this.entries.filter((each) => each.label !== label), { label, ...entry }];
    const slowest = Math.max(...this.entries.map(({ seconds }) => seconds));
    this.element.replaceChildren(
      el(
        "ol",
        { class: "bars" },
        this.entries.map((each) => {
          const bar = el("span", { class: "bar", "aria-hidden": "true" });
          bar.style.width = `${(100 * each.seconds) / slowest}%`;
          return el(
            "li",
            { class: each.label === label ? "latest" : null },
            el("span", { class: "name" }, each.label),
            bar,
            el("span", { class: "time" }, format.seconds(each.seconds)),
            el("span", { class: "help" }, detailsOf(each)),
          );
        }),
      ),
    );
  }
}

function detailsOf({ users, seconds, written, computed, cost, currency }) {
  const parts = [
    `${format.whole(written / seconds)} tokens/s for ${users} users`,
    `${format.whole(computed)} tokens computed for ${format.whole(written)} written`,
  ];
  if (cost !== null)
    parts.push(`${format.short((1e6 * cost) / written)} ${currency} a million tokens`);
  return parts.join(" · ");
}
