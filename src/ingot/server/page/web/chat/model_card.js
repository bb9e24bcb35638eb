// A feature: the digest of the model, the verification of its weights, and the request as code.

import { explain } from "../shared/api.js";
import { copyText } from "../shared/clipboard.js";
import { button, el } from "../shared/elements.js";
import * as format from "../shared/format.js";
import * as models from "../shared/models.js";
import * as tree from "./conversation.js";
import { factsList } from "./loading/model_facts.js";
import { asCurl, asPython, build } from "./request.js";

export function install(chat) {
  const digest = el("dd", { id: "digest", class: "digest" }, "–");
  const facts = el("div", {});
  const verifyButton = button("Verify the weights in memory", () => verify(chat), {
    id: "verify",
    class: "small",
  });
  chat.addDrawerSection(
    "Model",
    el("div", {}, facts, el("dl", {}, el("dt", {}, "Digest of the ingot"), digest), verifyButton),
  );
  const copyAs = (asCode, name) => () => copy(chat, asCode, name);
  chat.addDrawerSection(
    "As code",
    el(
      "div",
      { class: "toolbar" },
      button("Copy as curl", copyAs(asCurl, "curl"), { id: "copy-curl", class: "small" }),
      button("Copy as Python", copyAs(asPython, "Python"), { id: "copy-python", class: "small" }),
    ),
  );
  const show = async () => {
    const model = models.current();
    digest.textContent = model?.digest ?? "–";
    const known = model ? await models.facts(model).catch(() => null) : null;
    if (known && model === models.current()) facts.replaceChildren(factsList(model, known));
  };
  models.onChange(show);
  show();
}

async function verify(chat) {
  chat.notify("The server is hashing the weights in its memory…");
  try {
    const model = await models.selected();
    const { ok, tensors } = await models.verify(model);
    const same = `Verified: all ${tensors} tensors in the server’s memory match those sealed under ${format.digest(model.digest)}.`;
    const different = "The weights in the server’s memory do not match the sealed ones.";
    chat.notify(ok ? same : different, { error: !ok });
  } catch (error) {
    chat.notify(explain(error), { error: true });
  }
}

async function copy(chat, asCode, name) {
  try {
    const isPrompt = chat.current.mode === "prompt";
    const path = tree.path(chat.current);
    const messages = isPrompt ? [] : path.filter((node) => node.text || node.fields);
    const text = chat.draft() || (isPrompt ? (path[0]?.text ?? "") : "");
    // In a chat a draft is part of the request unless a question still waits for its answer.
    if (text && (isPrompt || path.at(-1)?.role !== "user")) messages.push({ role: "user", text });
    const model = await models.selected();
    const request = build(chat.current.mode, messages, chat.settings(), model);
    for (const hook of chat.hooks.transform) {
      hook(request.body, { conversation: chat.current, messages, model, continues: false });
    }
    await copyText(asCode(request));
    chat.notify(`Copied as ${name}.`);
  } catch (error) {
    chat.notify(explain(error), { error: true });
  }
}
