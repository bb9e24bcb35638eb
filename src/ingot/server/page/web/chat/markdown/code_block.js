// A block of code: its language, a button that copies it, and colours once it is complete.

import { copyWith } from "../../shared/clipboard.js";
import { el, iconButton } from "../../shared/elements.js";
import { coloured } from "./highlight.js";

// Returns { element, update(token), finish() } of a fenced or indented block.
export function codeBlock(token) {
  const code = el("code", { tabindex: "0", role: "region", "aria-label": "Code" });
  const language = el("span", { class: "language" });
  const copy = iconButton("Copy code", "copy", () => copyWith(copy, code.textContent));
  const element = el(
    "figure",
    { class: "code" },
    el("figcaption", {}, language, copy),
    el("pre", {}, code),
  );
  let shown = null;
  let text = "";

  function update({ text: next, lang }) {
    language.textContent = nameOf(lang);
    if (next.startsWith(text) && shown !== "coloured" && code.firstChild) {
      code.firstChild.appendData(next.slice(text.length));
    } else if (next !== text || !code.firstChild) {
      code.replaceChildren(document.createTextNode(next));
      shown = "plain";
    }
    text = next;
  }

  async function finish() {
    if (shown === "coloured" || !text) return;
    const wanted = text;
    const parts = await coloured(text, nameOf(language.textContent));
    if (!parts || wanted !== text) return;
    code.replaceChildren(parts);
    shown = "coloured";
  }

  update(token);
  return { element, update, finish };
}

const nameOf = (lang) =>
  (lang ?? "")
    .trim()
    .split(/[\s,{]/)[0]
    .toLowerCase();
