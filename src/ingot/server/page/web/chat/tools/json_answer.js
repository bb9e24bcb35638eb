// A feature: an answer that is JSON is shown as JSON; one that had to be and is not is reported.

import { el } from "../../shared/elements.js";
import { readable } from "./calls.js";

const MAX_CHARACTERS = 200_000;

// Whether a text is a JSON object or list.
export function isJson(text) {
  const trimmed = text.trim();
  if (!/^[[{]/.test(trimmed) || trimmed.length > MAX_CHARACTERS) return false;
  try {
    JSON.parse(trimmed);
    return true;
  } catch {
    return false;
  }
}

export function install(chat) {
  const places = new Map(); // { pre, element } by node id
  const show = (node) => {
    const { pre, element } = places.get(node.id) ?? {};
    if (!pre) return;
    const whole = isJson(node.text);
    pre.hidden = !whole;
    element.classList.toggle("json-answer", whole);
    if (whole) pre.textContent = readable(node.text);
  };
  chat.decorate((node, { element, body }) => {
    if (node.role !== "assistant" || chat.current.mode !== "chat") return;
    const pre = el("pre", {
      ...{ class: "json", tabindex: "0", role: "group" },
      ...{ "aria-label": "JSON", hidden: true },
    });
    body.append(pre);
    places.set(node.id, { pre, element });
    if (!chat.isBusy) show(node);
  });
  chat.on("answered", ({ nodes, results, requests }) => {
    nodes.forEach((node, index) => {
      show(node);
      if (!requests[index].body.response_format || results[index].reason !== "length") return;
      chat.notify("The JSON was cut at the maximum length, so it is not complete: raise it.", {
        error: true,
      });
    });
  });
}
