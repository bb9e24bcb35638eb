// What a view's figures mean, folded: one plain sentence for each.

import { el } from "./elements.js";

// meanings: { name: sentence }.
export const explained = (meanings) =>
  el(
    "details",
    { class: "explained" },
    el("summary", {}, "What these figures mean"),
    el(
      "dl",
      {},
      Object.entries(meanings).map(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]),
    ),
  );
