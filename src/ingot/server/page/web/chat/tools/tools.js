// A feature: tools that the model may call. The page shows the calls; the reader answers them.

import { el, oncePerFrame } from "../../shared/elements.js";
import * as tree from "../conversation.js";
import { callsView } from "./call_view.js";
import { callsOf, collect, removeCut } from "./calls.js";
import { toolsForm } from "./definitions_form.js";

export function install(chat) {
  const form = toolsForm(() => chat.current && chat.emit("settings", chat.settings()));
  chat.addDrawerSection("Tools", form.element);
  chat.transform((body, { conversation }) => {
    if (conversation.mode !== "chat") return;
    const { tools, choice, single } = form.read();
    if (!tools.length || choice === "none") return;
    body.tools = tools;
    if (choice !== "auto") body.tool_choice = choice;
    if (single) body.parallel_tool_calls = false;
  });
  chat.addMessageAction({
    ...{ id: "answer", label: "Generate the answer", icon: "forward" },
    when: (node) => node.role === "tool" && !node.children.length,
    run: (node) => chat.answer(node),
  });
  showCalls(chat);
  chat.on("stream", ({ node, event }) => {
    for (const { delta } of event.choices) {
      if (!delta?.tool_calls) continue;
      node.fields ??= {};
      collect(node.fields, delta.tool_calls);
    }
  });
  chat.on("answered", ({ nodes }) => {
    const cut = nodes.reduce((sum, { fields }) => sum + (fields ? removeCut(fields) : 0), 0);
    if (!cut) return;
    chat.changed();
    chat.notify("A call of a tool was cut and is left out: raise the maximum length.", {
      error: true,
    });
  });
}

// Keeps the calls below each answer as they are: what arrives, and the form while it is the last.
function showCalls(chat) {
  const places = new Map(); // { place, shown } by node id
  const show = (node) => {
    const entry = places.get(node.id);
    if (!entry || !callsOf(node).length) return;
    const isOpen = !node.children.length && !chat.isBusy;
    const shown = JSON.stringify([node.fields.tool_calls, isOpen]);
    if (shown === entry.shown) return; // a result that is being written keeps its field
    entry.shown = shown;
    const send = isOpen ? (results) => answer(chat, node, results) : null;
    entry.place.replaceChildren(callsView(node, send));
  };
  chat.decorate((node, { footer }) => {
    if (node.role !== "assistant") return;
    const place = el("div", {});
    footer.append(place);
    places.set(node.id, { place, shown: "" });
    show(node);
  });
  const showAll = () => chat.current && chat.path().forEach(show);
  const showSoon = oncePerFrame(showAll);
  chat.on("stream", showSoon);
  chat.on("conversation", showAll);
  chat.on("busy", showAll);
}

// Adds the results to the conversation and has the model answer them.
function answer(chat, node, results) {
  let parent = node;
  for (const { call, text } of results) {
    parent = tree.add(chat.current, parent.id, "tool", text);
    parent.fields = { tool_call_id: call.id };
  }
  chat.answer(parent);
}
