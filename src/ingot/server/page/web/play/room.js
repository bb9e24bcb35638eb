// The room Play: write, watch the answer, take it apart.

import { explain } from "../api.js";
import { $, el } from "../dom.js";
import * as format from "../format.js";
import * as models from "../models.js";
import * as tree from "./conversation.js";
import { answer } from "./generate.js";
import { build as buildForm } from "./parameters.js";
import { asCurl, asPython, build as buildRequest } from "./request.js";
import { Shelf } from "./shelf.js";
import * as store from "./store.js";
import { Thread } from "./thread.js";

const SAMPLE = "def main():"; // of the HTML; nothing to say in a chat

let conversations = store.readConversations();
let current = null;
let running = []; // an AbortController for each answer under way
let readForm = null;
let thread = null;
let shelf = null;

export function open() {
  const saved = store.readSettings();
  $("tint").checked = saved.tint === true;
  $("side").checked = saved.side === true;
  $("other-temperature").value = saved["other-temperature"] ?? "0";
  readForm = buildForm($("settings"), saved, keepSettings);
  thread = new Thread($("thread"), { edit, retry, goOn, branch, show });
  shelf = new Shelf({ open: openConversation, remove, add: addConversations, say });
  $("shelf").open = matchMedia("(min-width: 60rem)").matches;
  wire();
  models.onChange(showModels);
  showModels();
  openConversation(conversations[0] ?? begin(saved.mode === "chat" ? "chat" : "prompt"));
  setBusy(false); // until here a click would have gone nowhere
}

function wire() {
  $("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!running.length && $("prompt").value) send($("prompt").value);
  });
  $("stop").addEventListener("click", stop);
  $("new").addEventListener("click", () => {
    openConversation(begin(current.mode));
    $("prompt").focus();
  });
  for (const mode of ["chat", "prompt"]) $(`mode-${mode}`).addEventListener("change", () => setMode(mode));
  for (const id of ["tint", "side"]) $(id).addEventListener("change", keepSettings);
  for (const id of ["other-model", "other-temperature"]) $(id).addEventListener("input", keepSettings);
  $("copy-curl").addEventListener("click", () => copy(asCurl, "curl"));
  $("copy-python").addEventListener("click", () => copy(asPython, "Python"));
  $("verify").addEventListener("click", verify);
  $("room-play").addEventListener("keydown", (event) => {
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
    side: $("side").checked,
    "other-temperature": $("other-temperature").value,
  };
}

function keepSettings() {
  store.saveSettings(settings());
  $("thread").classList.toggle("tinted", $("tint").checked);
  $("other").hidden = !$("side").checked;
  if (!running.length) render();
}

function showModels() {
  const model = models.current();
  $("digest").textContent = model?.digest ?? "–";
  if (model) $("max-tokens").max = model.max_model_len;
  const chosen = $("other-model").value;
  $("other-model").replaceChildren(...models.all().map(({ id }) => el("option", { value: id }, id)));
  $("other-model").value = models.byName(chosen)?.id ?? "";
}

function setMode(mode) {
  if (mode === current.mode) return;
  if (current.nodes[tree.ROOT].children.length) openConversation(begin(mode));
  else {
    current.mode = mode;
    openConversation(current);
  }
}

// ---- Conversations

function begin(mode) {
  const fresh = conversations.find((one) => one.mode === mode && !one.nodes[tree.ROOT].children.length);
  if (fresh) return fresh;
  conversations.unshift(tree.create(mode));
  return conversations[0];
}

function openConversation(conversation) {
  stop();
  current = conversation;
  const chat = current.mode === "chat";
  $("mode-chat").checked = chat;
  $("mode-prompt").checked = !chat;
  if (chat && $("prompt").value === SAMPLE) $("prompt").value = "";
  $("prompt-label").textContent = chat ? "Message" : "Prompt";
  $("generate").textContent = chat ? "Send" : "Generate";
  keepSettings();
  say("");
}

function remove(conversation) {
  conversations = conversations.filter((one) => one !== conversation);
  if (conversation === current) openConversation(conversations[0] ?? begin(current.mode));
  changed();
}

function addConversations(found) {
  conversations.unshift(...found);
  if (found.length) openConversation(found[0]);
  changed();
}

function changed() {
  const fault = store.saveConversations(conversations);
  if (fault) say(fault, true);
  render();
}

function render() {
  thread.render(current, { sideBySide: $("side").checked, running: running.length > 0 });
  shelf.render(conversations, current);
}

// ---- What the buttons do

function send(text) {
  const chat = current.mode === "chat";
  const last = tree.path(current).at(-1);
  // A prompt stands alone: the next one is another beginning.
  const asked = tree.add(current, chat && last ? last.id : tree.ROOT, "user", text);
  if (chat) $("prompt").value = "";
  generate(asked);
}

function edit(node, text) {
  generate(tree.add(current, node.parent, "user", text));
}

function retry(node) {
  generate(current.nodes[node.parent]);
}

function goOn(node) {
  generate(node);
}

function branch(node) {
  conversations.unshift(tree.branch(current, node.id));
  openConversation(conversations[0]);
  changed();
}

function show(node) {
  tree.show(current, node);
  changed();
}

function stop() {
  for (const controller of running) controller.abort();
}

// Answers `asked`; side by side, twice: once as set, once with the other model and temperature.
async function generate(asked) {
  const conversation = current;
  let wanted;
  try {
    wanted = await requests(asked);
  } catch (error) {
    changed();
    say(explain(error), true);
    return;
  }
  const answers = wanted.map(() => tree.add(conversation, asked.id, "assistant"));
  if (answers.length > 1) {
    thread.pairs.set(asked.id, answers.map(({ id }) => id));
    tree.show(conversation, answers[0]);
  }
  const controllers = wanted.map(() => new AbortController());
  running.push(...controllers);
  setBusy(true);
  render();
  const ends = await Promise.all(
    wanted.map(({ request, model }, place) =>
      answer(request, answers[place], thread.view(answers[place]), model, controllers[place].signal)),
  );
  running = running.filter((controller) => !controllers.includes(controller));
  if (running.length) return;
  setBusy(false);
  const fault = ends.find((end) => end.fault);
  changed();
  say(fault?.fault ?? ends[0].ending, Boolean(fault));
  noticeOtherWeights(ends[0].digest);
}

async function requests(asked) {
  const model = await models.needed();
  const path = tree.pathTo(current, asked.id);
  const given = settings();
  const one = [{ request: buildRequest(current.mode, path, given, model), model }];
  if (!given.side) return one;
  const other = models.byName($("other-model").value) ?? model;
  const changedSettings = { ...given, temperature: given["other-temperature"] };
  return [...one, { request: buildRequest(current.mode, path, changedSettings, other), model: other }];
}

function noticeOtherWeights(digest) {
  const known = models.all().some((model) => model.digest === digest);
  if (!digest || known) return;
  models.load().catch(() => {});
  say("The server now answers with other weights than before.");
}

function setBusy(busy) {
  const [off, on] = busy ? [$("generate"), $("stop")] : [$("stop"), $("generate")];
  const focused = document.activeElement === off;
  on.disabled = false;
  if (focused) on.focus(); // a disabled button would drop the focus
  off.disabled = true;
  if (busy) say("Writing…");
}

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

async function copy(as, name) {
  try {
    const path = tree.path(current);
    const draft = $("prompt").value && (current.mode === "prompt" || !path.length || path.at(-1).role === "assistant");
    const whole = current.mode === "prompt" ? [] : path.filter((node) => node.text);
    if (draft) whole.push({ role: "user", text: $("prompt").value });
    const code = as(buildRequest(current.mode, whole, settings(), await models.needed()));
    await navigator.clipboard.writeText(code);
    say(`Copied as ${name}.`);
  } catch (error) {
    say(explain(error), true);
  }
}

async function verify() {
  say("The server hashes the weights in its memory…");
  try {
    const model = await models.needed();
    const { ok, tensors, memory } = await models.verify(model);
    if (ok) say(`Verified: all ${tensors} tensors in the server’s memory are those that were sealed (${format.digest(memory)}).`);
    else say("The weights in the server’s memory are not those that were sealed.", true);
  } catch (error) {
    say(explain(error), true);
  }
}
