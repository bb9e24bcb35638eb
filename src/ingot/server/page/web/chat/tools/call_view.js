// The calls of an answer, and the form in which one answers them by hand.

import { button, el } from "../../shared/elements.js";
import { callsOf, readable } from "./calls.js";

// Results by the id of their call: they outlive a new drawing, and a refusal.
const drafts = new Map();

// Returns the view of a node's calls. `answer(results)` gets [{ call, text }, …] of all calls, or is
// null where they were answered already.
export function callsView(node, answer) {
  const calls = callsOf(node);
  const inputs = calls.map(({ id, function: { name } }, index) => {
    const input = el("textarea", {
      ...{ rows: 2, spellcheck: "false", "aria-label": `Result of ${name}, call ${index + 1}` },
      placeholder: `What ${name} returns, as text or JSON`,
    });
    input.value = drafts.get(id) ?? "";
    input.addEventListener("input", () => drafts.set(id, input.value));
    return input;
  });
  const items = calls.map(({ function: called }, index) =>
    el(
      "div",
      { class: "call" },
      el("p", { class: "call-name" }, "Call of ", el("code", {}, called.name)),
      el(
        "pre",
        { tabindex: "0", role: "group", "aria-label": "Arguments" },
        readable(called.arguments),
      ),
      answer ? inputs[index] : null,
    ),
  );
  const send = () => {
    const empty = inputs.find((input) => !input.value.trim());
    if (empty) return empty.focus();
    answer(calls.map((call, index) => ({ call, text: inputs[index].value })));
    return undefined;
  };
  const label = calls.length > 1 ? "Send the results" : "Send the result";
  return el(
    "div",
    { class: "calls" },
    items,
    answer ? button(label, send, { class: "primary small send-results" }) : null,
  );
}
