// The view Chat: puts its parts together. chat.js says where features plug in.

import { $ } from "../shared/elements.js";
import { icon } from "../shared/icons.js";
import { addKey } from "../shared/keyboard.js";
import * as models from "../shared/models.js";
import { Panel } from "../shared/panel.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import * as tree from "./conversation.js";
import { ConversationList } from "./conversation_list.js";
import { FEATURES } from "./features.js";
import { MessageList } from "./message_list.js";
import { Place } from "./place.js";
import { SettingsPanel } from "./settings_panel.js";
import * as storage from "./storage.js";
import { promptsOf, showWelcome } from "./welcome.js";

const WIDE = "(min-width: 56rem)"; // there is space for the conversations beside the messages
const MAX_ANNOUNCED = 2000; // characters of an answer that a screen reader is told

let chat = null;
let facts = null; // of the model, once they arrived

export function open() {
  const stored = { ...settingsOfAddress(), ...storage.readSettings() };
  const middle = document.querySelector(".conversation");
  const bar = document.querySelector(".topbar");
  chat = new Chat(uiOf());
  const sidebar = new Panel($("sidebar"), $("toggle-sidebar"), {
    wide: WIDE,
    others: [middle, bar, $("drawer")],
    open: true,
  });
  $("toggle-sidebar").append(icon("panel"));
  const settings = new SettingsPanel(stored, onSettings, [middle, bar, $("sidebar")]);
  const list = new MessageList($("messages"), chat);
  const place = new Place($("scroller"), $("to-end"));
  $("to-end").prepend(icon("down"));
  const closeSidebar = () => sidebar.isModal && sidebar.close();
  const conversations = new ConversationList(chat, closeSidebar);
  const composer = new Composer({
    send: (text) => chat.send(text),
    stop: () => chat.stop(),
    changed: (text) => chat.emit("draft", text),
    editLast: () => editLast(list),
  });
  Object.assign(parts, { sidebar, settings, list, place, conversations, composer });
  for (const feature of FEATURES) feature.install(chat);
  addListeners(closeSidebar);
  models.onChange(onModel);
  const isFirstVisit = !chat.conversations.length && !stored.mode;
  chat.select(chat.conversations[0] ?? chat.begin(stored.mode === "prompt" ? "prompt" : "chat"));
  begun(isFirstVisit, stored);
}

// The button is disabled in index.html: until here a click would be lost. A model that has seen no
// conversations is first shown a text to continue.
async function begun(isFirstVisit, stored) {
  try {
    facts = await models.facts(await models.selected());
    const isNew = isFirstVisit && !("temperature" in stored);
    parts.settings.recommend(facts.generation, isNew);
    if (isFirstVisit && !facts.chat) setMode("prompt");
  } catch {
    // The notice of the frame says that the server does not answer, or asks for the key.
  }
  parts.composer.setBusy(false);
  onModel();
  if (isFirstVisit && new URLSearchParams(location.search).get("open") === "answer") {
    ask(promptsOf(chat.current.mode)[0][1]);
  }
}

const parts = {};

// Returns the settings that a first visit begins with, such as /?mode=chat&temperature=0.2. None of
// them is a text that a model is told.
function settingsOfAddress() {
  const given = new URLSearchParams(location.search);
  const names = ["mode", "temperature", "top-p"].filter((name) => given.has(name));
  return Object.fromEntries(names.map((name) => [name, given.get(name)]));
}

function uiOf() {
  return {
    slots: {
      attachments: $("composer-attachments"),
      tools: $("composer-tools"),
      notices: $("chat-notices"),
      modelPicker: $("model-picker"),
      composer: $("composer"),
    },
    settings: () => ({ ...parts.settings.read(), mode: chat.current?.mode }),
    draft: () => parts.composer.value,
    setDraft: (text) => {
      parts.composer.value = text;
    },
    status: showStatus,
    addDrawerSection: (...section) => parts.settings.addSection(...section),
    answerView: (node) => parts.list.view(node),
    selected: onSelected,
    render,
    asked: onAsked,
    setBusy,
  };
}

function addListeners(closeSidebar) {
  const here = () => !$("view-chat").hidden;
  $("new").addEventListener("click", () => {
    begin();
    closeSidebar();
    parts.composer.focus();
  });
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && here() && !event.target.closest("dialog")) chat.stop();
  });
  addEventListener("pagehide", () => storage.saveConversations(chat.conversations));
  addKey("Chat", "/", "Write a message", () => parts.composer.focus(), here);
  addKey("Chat", "n", "New conversation", begin, here);
  addKey("Chat", "c", "Conversations", () => parts.sidebar.toggle(), here);
  addKey("Chat", "s", "Settings", () => parts.settings.panel.toggle(), here);
  addKey("Chat", "r", "Regenerate the last answer", regenerate, here);
  chat.on("answered", announce);
}

function begin() {
  chat.select(chat.begin(chat.current.mode));
}

function regenerate() {
  const last = chat.path().at(-1);
  if (last?.role === "assistant" && !chat.isBusy) chat.retry(last);
}

function editLast(list) {
  const last = chat.path().findLast(({ role }) => role === "user");
  if (last && !chat.isBusy) list.edit(last);
}

// ---- What changed

function onSettings() {
  storage.saveSettings({ ...storage.readSettings(), ...chat.settings() });
  chat.emit("settings", chat.settings());
}

async function onModel() {
  const model = models.current();
  facts = null;
  if (!model || !chat.current) return;
  $("max-tokens").max = model.max_model_len;
  chat.emit("model", model);
  render();
  facts = await models.facts(model).catch(() => null);
  if (models.current() !== model) return;
  parts.settings.recommend(facts?.generation ?? {}, false);
  render();
}

function onSelected() {
  parts.composer.mode = chat.current.mode;
  requestAnimationFrame(() => parts.place.showEnd());
}

function setMode(mode) {
  if (tree.isEmpty(chat.current)) {
    const others = chat.conversations.filter((one) => one !== chat.current);
    chat.conversations = others;
  }
  chat.select(chat.begin(mode));
}

function onAsked(node, answers, continues) {
  if (continues) return;
  const answer = parts.list.entry(answers[0]).element;
  const question = parts.list.entry(node).element;
  const row = answer.closest(".pair") ?? answer;
  parts.place.ask(question, row);
  for (const each of answers) parts.list.view(each).onFlush = () => parts.place.grew();
}

function setBusy(busy) {
  parts.composer.setBusy(busy);
  if (busy) showStatus("Generating…");
}

function render() {
  if (!chat.current || !parts.list) return;
  parts.list.render();
  parts.conversations.render();
  const isEmpty = tree.isEmpty(chat.current);
  $("welcome").hidden = !isEmpty;
  if (isEmpty) {
    const shown = { mode: chat.current.mode, model: models.current(), facts };
    showWelcome($("welcome"), shown, { ask, setMode });
  }
  parts.place.watch($("messages").lastElementChild?.querySelector(".message-bar") ?? null);
}

// A suggestion is asked at once; its text can still be edited, and asked again.
function ask(text) {
  parts.composer.value = text;
  parts.composer.submit();
}

function showStatus(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

// Screen readers hear an answer once, when it is complete.
function announce({ node, results }) {
  if (results[0].error || !node.text) return;
  const text = node.text.slice(0, MAX_ANNOUNCED);
  $("announcer").textContent = `${node.model} answered: ${text}`;
}
