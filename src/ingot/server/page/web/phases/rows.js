// The parts that both columns are made of.

import { el } from "../shared/elements.js";

// A row of a column; the rows of the two columns stand side by side.
export const row = (title, ...content) =>
  el("div", { class: "phase-row" }, el("h4", {}, title), ...content);

// The stages of a phase in order; `at(name)` marks the one that runs.
export function stages(names) {
  const items = names.map((name) => el("li", {}, name));
  return {
    element: el("ol", { class: "stages", "aria-hidden": "true" }, items),
    at(name) {
      for (const [index, item] of items.entries())
        item.classList.toggle("now", names[index] === name);
    },
  };
}
