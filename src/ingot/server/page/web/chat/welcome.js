// What an empty conversation shows: the model, and prompts that show what it can do.

import { el } from "../shared/elements.js";
import * as format from "../shared/format.js";

// Short tasks that a small model does well; each shows something else of the page.
const CHAT_PROMPTS = [
  ["Explain", "Why is the sky blue? Answer in three short sentences."],
  ["Write code", "Write a Python function that returns the n-th Fibonacci number, and explain it."],
  ["Compare", "Compare Python and C++ in a table: speed, memory, typical use."],
  ["Plan", "List five steps to learn to play the guitar, with one tip for each."],
];
// Without a space at their end, which a token usually begins with.
const TEXT_PROMPTS = [
  ["Documentation", "Return the number of"],
  ["A function", 'def read_lines(path):\n    """'],
  ["A class", 'class Stack:\n    """A last-in, first-out stack."""\n\n    def __init__(self):\n'],
  ["A sentence", "The purpose of this module is to"],
];

export const promptsOf = (mode) => (mode === "chat" ? CHAT_PROMPTS : TEXT_PROMPTS);

// Fills `container` for a model and its facts, which may not be known yet. `actions`:
// { ask(text), setMode(mode) }.
export function showWelcome(container, { mode, model, facts }, actions) {
  const cards = promptsOf(mode).map(([title, text]) =>
    el(
      "button",
      { type: "button", class: "suggestion", on: { click: () => actions.ask(text) } },
      el("strong", {}, title),
      el("span", {}, text),
    ),
  );
  container.replaceChildren(
    el(
      "h2",
      { class: "welcome-title" },
      mode === "chat" ? "What shall we talk about?" : "Begin a text",
    ),
    el("p", { class: "welcome-model" }, model ? describe(model, facts) : ""),
    el("div", { class: "suggestions" }, cards),
    modeSwitch(mode, actions.setMode),
  );
}

function describe(model, facts) {
  const parts = [model.id];
  if (facts) parts.push(`${format.scaled(facts.parameters).trim()} parameters`, facts.format);
  parts.push(`${format.whole(model.max_model_len)} tokens of context`);
  return `${parts.join(" · ")}. It runs on this server; nothing is sent elsewhere.`;
}

function modeSwitch(mode, setMode) {
  const choice = (value, label) => {
    const id = `mode-${value}`;
    const input = el("input", { id, type: "radio", name: "mode", checked: value === mode });
    input.addEventListener("change", () => setMode(value));
    return [input, el("label", { for: id }, label)];
  };
  return el(
    "fieldset",
    { class: "modes" },
    el("legend", { class: "visually-hidden" }, "Mode"),
    choice("chat", "Chat"),
    choice("prompt", "Continue a text"),
  );
}
