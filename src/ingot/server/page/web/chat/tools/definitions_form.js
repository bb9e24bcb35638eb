// The form in the drawer that defines the tools; it keeps them in this browser.

import { button, el } from "../../shared/elements.js";
import { EXAMPLE, parseTools } from "./definitions.js";

const TOOLS = "ingot.tools";
const CHOICES = [
  ["auto", "The model decides"],
  ["required", "It must call one"],
  ["none", "Off"],
];

function stored() {
  try {
    const { text, choice, single } = JSON.parse(localStorage.getItem(TOOLS) ?? "{}");
    return { text: String(text ?? ""), choice: String(choice ?? "auto"), single: single === true };
  } catch {
    return { text: "", choice: "auto", single: false };
  }
}

// Returns { element, read }; read() returns { tools, choice, single } and throws an Error where the text is
// wrong. `onChange` is called when either changed.
export function toolsForm(onChange) {
  const { text, choice, single } = stored();
  const area = el("textarea", {
    ...{ id: "tools", rows: 8, spellcheck: "false", class: "code-field" },
    "aria-describedby": "tools-help tools-state",
  });
  area.value = text;
  const choose = el(
    "select",
    { id: "tool-choice" },
    CHOICES.map(([value, label]) => el("option", { value }, label)),
  );
  choose.value = CHOICES.some(([value]) => value === choice) ? choice : "auto";
  const one = el("input", { id: "one-call", type: "checkbox", checked: single });
  const state = el("p", { id: "tools-state", class: "help", role: "status" });
  const read = () => ({
    tools: parseTools(area.value),
    choice: choose.value,
    single: one.checked,
  });
  const changed = () => {
    try {
      const names = read().tools.map((tool) => tool.function.name);
      state.textContent = names.length ? `The model is told of ${names.join(", ")}.` : "";
      state.classList.remove("error");
    } catch (error) {
      state.textContent = error.message;
      state.classList.add("error");
    }
    try {
      const kept = { text: area.value, choice: choose.value, single: one.checked };
      localStorage.setItem(TOOLS, JSON.stringify(kept));
    } catch {
      // They are used until the tab is closed.
    }
    onChange();
  };
  area.addEventListener("input", changed);
  choose.addEventListener("input", changed);
  one.addEventListener("input", changed);
  const example = button("Insert an example", () => insert(area), { class: "small" });
  const element = el(
    "div",
    { class: "controls" },
    el(
      "div",
      { class: "control" },
      el("label", { for: "tools" }, "Tools"),
      area,
      el(
        "p",
        { id: "tools-help", class: "help" },
        "A JSON list of functions: name, description, parameters (a JSON schema). The page runs none of them: it shows each call, and you answer it.",
      ),
      state,
      example,
    ),
    el(
      "div",
      { class: "control" },
      el("label", { for: "tool-choice" }, "When to call"),
      el("div", { class: "field" }, choose),
      el("label", { for: "one-call", class: "check" }, one, " At most one call in an answer"),
    ),
  );
  changed();
  return { element, read };
}

function insert(area) {
  if (!area.value.trim()) area.value = EXAMPLE;
  area.dispatchEvent(new Event("input"));
  area.focus();
}
