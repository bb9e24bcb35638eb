// The keyboard map: keys that work outside of fields, and the dialog that lists every key.

import { button, el } from "./elements.js";

const KEY = "ingot.single-keys";
const groups = new Map(); // [[keys, what they do], …] by the name of a group
const commands = new Map(); // { run, when } by key

// Lists keys that work in fields too; the owner of the field listens for them.
export function describeKeys(group, keys) {
  groups.set(group, [...(groups.get(group) ?? []), ...keys]);
}

// Adds a command for one key without Ctrl or Alt. It works while no field has the focus.
export function addKey(group, key, text, run, when = () => true) {
  describeKeys(group, [[key, text]]);
  commands.set(key, { run, when });
}

// A screen reader or a voice may send single keys unmeant, so they can be turned off (WCAG 2.1.4).
function enabled() {
  try {
    return localStorage.getItem(KEY) !== "off";
  } catch {
    return true;
  }
}

function setEnabled(value) {
  try {
    localStorage.setItem(KEY, value ? "on" : "off");
  } catch {
    // They stay as they are where the browser keeps nothing.
  }
}

export function showKeys() {
  const list = ([keys, text]) =>
    el(
      "div",
      { class: "key" },
      el(
        "dt",
        {},
        keys.split(" ").map((key) => el("kbd", {}, key)),
      ),
      el("dd", {}, text),
    );
  const group = ([name, keys]) =>
    el("section", {}, el("h3", {}, name), el("dl", {}, keys.map(list)));
  const single = el("input", { type: "checkbox", id: "single-keys", checked: enabled() });
  single.addEventListener("change", () => setEnabled(single.checked));
  const dialog = el(
    "dialog",
    { class: "key-map", "aria-labelledby": "key-map-title" },
    // Focused first, so that the list is read from its top on a small screen.
    el("h2", { id: "key-map-title", tabindex: "-1", autofocus: true }, "Keyboard"),
    el("div", { class: "key-groups" }, [...groups].map(group)),
    el("p", {}, el("label", { for: "single-keys" }, single, " Single keys work outside of fields")),
    button("Close", () => dialog.close(), { class: "primary" }),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.closest("input, textarea, select, dialog, [contenteditable]")) return;
  const command = commands.get(event.key);
  if (!command || !enabled() || !command.when()) return;
  event.preventDefault();
  command.run();
});
