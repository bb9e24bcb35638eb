// Tokens as the server counts them: with the chat template, the tools and the system prompt.

import { json } from "../../shared/api.js";
import * as models from "../../shared/models.js";
import { build } from "../request.js";

const FIELDS = ["model", "messages", "prompt", "tools", "tool_choice"];

// Returns the tokens of the next request if `text` were sent now, without its answer. `nodes` are
// the messages before it, by default those that are shown.
export async function countNext(chat, text, { nodes, signal } = {}) {
  const model = await models.selected();
  const { mode } = chat.current;
  const before = mode === "chat" ? (nodes ?? chat.path()) : [];
  const messages = text ? [...before, { role: "user", text }] : before;
  const { body } = build(mode, messages, { system: chat.settings().system }, model);
  if (mode === "chat" ? !body.messages.length : !body.prompt) return 0;
  for (const hook of chat.hooks.transform) {
    hook(body, { conversation: chat.current, messages, model, continues: false });
  }
  const asked = Object.fromEntries(FIELDS.filter((name) => name in body).map((n) => [n, body[n]]));
  return (await json("tokenize", { body: asked, signal })).count;
}

// Returns the tokens of a text by itself.
export async function countText(text) {
  const model = await models.selected();
  const body = { model: model.id, prompt: text, add_special_tokens: false };
  return (await json("tokenize", { body })).count;
}
