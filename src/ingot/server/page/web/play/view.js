// The view Play: prompts and chats, streamed, with what the model thought of each token.

import { explain } from "../shared/api.js";
import { $, el } from "../shared/elements.js";
import * as format from "../shared/format.js";
import * as models from "../shared/models.js";
import * as tree from "./conversation.js";
import { ConversationList } from "./conversation_list.js";
import { generate } from "./generation.js";
import { MessageList } from "./message_list.js";
import { buildForm } from "./parameters.js";
import { asCurl, asPython, build as buildRequest } from "./request.js";
import * as storage from "./storage.js";

const EXAMPLE_PROMPT = "def main():"; // in index.html; not useful in a chat

let conversations = storage.readConversations();
let current = null;
let running = []; // an AbortController for each answer that is being generated
let readForm = null;
let messageList = null;
let conversationList = null;

export function open() {
  const stored = { ...settingsOfAddress(), ...storage.readSettings() };
  $("tint").checked = stored.tint === true;
  $("side-by-side").checked = stored["side-by-side"] === true;
  $("other-temperature").value = stored["other-temperature"] ?? "0";
  readForm = buildForm($("settings"), stored, onSettings);
  messageList = new MessageList($("messages"), { edit, retry, continueFrom, branch, show });
  conversationList = new ConversationList({ open: select, remove, add: addAll, showStatus });
  $("conversation-list").open = matchMedia("(min-width: 60rem)").matches;
  addListeners();
  models.onChange(showModels);
  showModels();
  select(conversations[0] ?? begin(stored.mode === "chat" ? "chat" : "prompt"));
  setBusy(false); // the button is disabled in index.html: until here a click would be lost
}

// Returns the settings that a first visit begins with, such as /?mode=chat&temperature=0.2. None of
// them is a text that a model is told.
function settingsOfAddress() {
  const given = new URLSearchParams(location.search);
  const names = ["mode", "temperature", "top-p"].filter((name) => given.has(name));
  return Object.fromEntries(names.map((name) => [name, given.get(name)]));
}

function addListeners() {
  const on = (id, event, listener) => $(id).addEventListener(event, listener);
  on("composer", "submit", (event) => {
    event.preventDefault();
    if (!running.length && $("prompt").value) send($("prompt").value);
  });
  on("stop", "click", stop);
  on("new", "click", () => {
    select(begin(current.mode));
    $("prompt").focus();
  });
  for (const mode of ["chat", "prompt"]) on(`mode-${mode}`, "change", () => setMode(mode));
  for (const id of ["tint", "side-by-side"]) on(id, "change", onSettings);
  for (const id of ["other-model", "other-temperature"]) on(id, "input", onSettings);
  on("copy-curl", "click", () => copy(asCurl, "curl"));
  on("copy-python", "click", () => copy(asPython, "Python"));
  on("verify", "click", verify);
  on("view-play", "keydown", (event) => {
    if (event.key === "Escape") stop();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("composer").requestSubmit();
  });
}

// ---- Settings

function settings() {
  return {
    ...readForm(),
    mode: current?.mode,
    tint: $("tint").checked,
    "side-by-side": $("side-by-side").checked,
    "other-temperature": $("other-temperature").value,
  };
}

function onSettings() {
  storage.saveSettings(settings());
  $("messages").classList.toggle("tinted", $("tint").checked);
  $("other").hidden = !$("side-by-side").checked;
  if (!running.length) render();
}

function showModels() {
  const model = models.current();
  $("digest").textContent = model?.digest ?? "–";
  if (model) $("max-tokens").max = model.max_model_len;
  const selected = $("other-model").value;
  const options = models.all().map(({ id }) => el("option", { value: id }, id));
  $("other-model").replaceChildren(...options);
  $("other-model").value = models.byName(selected)?.id ?? "";
}

function setMode(mode) {
  if (mode === current.mode) return;
  if (tree.isEmpty(current)) {
    current.mode = mode;
    select(current);
  } else select(begin(mode));
}

// ---- Conversations

// Returns an empty conversation; one that exists already is used again.
function begin(mode) {
  const empty = conversations.find((one) => one.mode === mode && tree.isEmpty(one));
  if (empty) return empty;
  conversations.unshift(tree.create(mode));
  return conversations[0];
}

function select(conversation) {
  stop();
  current = conversation;
  const chat = current.mode === "chat";
  $("mode-chat").checked = chat;
  $("mode-prompt").checked = !chat;
  if (chat && $("prompt").value === EXAMPLE_PROMPT) $("prompt").value = "";
  $("prompt-label").textContent = chat ? "Message" : "Prompt";
  $("generate").textContent = chat ? "Send" : "Generate";
  onSettings();
  showStatus("");
}

function remove(conversation) {
  conversations = conversations.filter((one) => one !== conversation);
  if (conversation === current) select(conversations[0] ?? begin(current.mode));
  onChange();
}

function addAll(found) {
  conversations.unshift(...found);
  if (found.length) select(found[0]);
  onChange();
}

function onChange() {
  const error = storage.saveConversations(conversations);
  if (error) showStatus(error, true);
  render();
}

function render() {
  const sideBySide = $("side-by-side").checked;
  messageList.render(current, { sideBySide, running: running.length > 0 });
  conversationList.render(conversations, current);
}

// ---- Actions

function send(text) {
  const chat = current.mode === "chat";
  const last = tree.path(current).at(-1);
  // Prompts are independent of each other: each is a child of the root.
  const parent = chat && last ? last.id : tree.ROOT;
  if (chat) $("prompt").value = "";
  answer(tree.add(current, parent, "user", text));
}

function edit(node, text) {
  answer(tree.add(current, node.parent, "user", text));
}

function retry(node) {
  answer(current.nodes[node.parent]);
}

function continueFrom(node) {
  answer(node);
}

function branch(node) {
  conversations.unshift(tree.branch(current, node.id));
  select(conversations[0]);
  onChange();
}

function show(node) {
  tree.show(current, node);
  onChange();
}

function stop() {
  for (const controller of running) controller.abort();
}

// Generates the answer to `node`; side by side, also one by the other model and temperature.
async function answer(node) {
  const conversation = current;
  let requests;
  try {
    requests = await requestsFor(node);
  } catch (error) {
    onChange();
    showStatus(explain(error), true);
    return;
  }
  const answers = requests.map(() => tree.add(conversation, node.id, "assistant"));
  if (answers.length > 1) {
    const ids = answers.map(({ id }) => id);
    messageList.pairs.set(node.id, ids);
    tree.show(conversation, answers[0]);
  }
  const controllers = requests.map(() => new AbortController());
  running.push(...controllers);
  setBusy(true);
  render();
  // On a small screen the input fills the view, and the answer would arrive unseen above it.
  $("messages").lastElementChild.scrollIntoView({ block: "nearest" });
  const results = await Promise.all(
    requests.map(({ request, model }, index) => {
      const view = messageList.view(answers[index]);
      return generate(request, answers[index], view, model, controllers[index].signal);
    }),
  );
  running = running.filter((controller) => !controllers.includes(controller));
  if (running.length) return;
  setBusy(false);
  const failed = results.find((result) => result.error);
  if (failed) removeRefused(conversation, node, answers);
  onChange();
  showStatus(failed?.error ?? results[0].message, Boolean(failed));
  checkDigest(results[0].digest);
}

// A refused answer leaves nothing behind: in a chat, an unanswered question would be sent again
// with every later one. Its text returns to the input, to be changed.
function removeRefused(conversation, question, answers) {
  for (const each of answers) if (!each.text) tree.remove(conversation, each);
  if (conversation.mode !== "chat" || question.children.length) return;
  tree.remove(conversation, question);
  if (conversation === current && !$("prompt").value) $("prompt").value = question.text;
}

async function requestsFor(node) {
  const model = await models.selected();
  const messages = tree.pathTo(current, node.id);
  const chosen = settings();
  const first = { request: buildRequest(current.mode, messages, chosen, model), model };
  if (!chosen["side-by-side"]) return [first];
  const other = models.byName($("other-model").value) ?? model;
  const changed = { ...chosen, temperature: chosen["other-temperature"] };
  const request = buildRequest(current.mode, messages, changed, other);
  return [first, { request, model: other }];
}

// The server can replace an ingot while the page is open.
function checkDigest(digest) {
  const known = models.all().some((model) => model.digest === digest);
  if (!digest || known) return;
  models.load().catch(() => {}); // the next request reports a server that does not answer
  showStatus("The server now answers with other weights than before.");
}

function setBusy(busy) {
  const [disabled, enabled] = busy ? [$("generate"), $("stop")] : [$("stop"), $("generate")];
  const focused = document.activeElement === disabled;
  enabled.disabled = false;
  if (focused) enabled.focus(); // a button that is disabled loses the focus
  disabled.disabled = true;
  if (busy) showStatus("Generating…");
}

function showStatus(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
  if (isError) $("status").scrollIntoView({ block: "nearest" });
}

async function copy(asCode, name) {
  try {
    const isPrompt = current.mode === "prompt";
    const path = tree.path(current);
    const messages = isPrompt ? [] : path.filter((node) => node.text);
    const text = $("prompt").value;
    // In a chat a draft is part of the request unless a question still waits for its answer.
    if (text && (isPrompt || path.at(-1)?.role !== "user")) messages.push({ role: "user", text });
    const model = await models.selected();
    const code = asCode(buildRequest(current.mode, messages, settings(), model));
    await navigator.clipboard.writeText(code);
    showStatus(`Copied as ${name}.`);
  } catch (error) {
    showStatus(explain(error), true);
  }
}

async function verify() {
  showStatus("The server is hashing the weights in its memory…");
  try {
    const model = await models.selected();
    const { ok, tensors, memory } = await models.verify(model);
    if (ok)
      showStatus(
        `Verified: all ${tensors} tensors in the server’s memory match the sealed ones (${format.digest(memory)}).`,
      );
    else showStatus("The weights in the server’s memory do not match the sealed ones.", true);
  } catch (error) {
    showStatus(explain(error), true);
  }
}
