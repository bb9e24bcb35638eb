// The page's frame: one view at a time, by the fragment of the address; the model; the API key;
// colours and keys.

import { explain, onKeyNeeded, setKey } from "./shared/api.js";
import { $, el } from "./shared/elements.js";
import { icon } from "./shared/icons.js";
import { addKey, showKeys } from "./shared/keyboard.js";
import * as models from "./shared/models.js";

// A view is a module with open(section), called once, and optional enter() and leave().
const VIEWS = {
  chat: () => import("./chat/view.js"),
  train: () => import("./train/view.js"),
  serve: () => import("./serve/view.js"),
  phases: () => import("./phases/view.js"),
  learn: () => import("./learn/view.js"),
};
const RECONNECT_MS = 2000;

const opened = new Map(); // module by view name
let current = null;

// The name of the run that this page shows; only then is Train the only view.
const run = document.body.dataset.run;

const linkTo = (name) => document.querySelector(`nav a[href="#${name}"]`);

async function showView() {
  const fragment = location.hash.slice(1);
  const name = run ? "train" : Object.hasOwn(VIEWS, fragment) ? fragment : "chat";
  if (name === current) return;
  opened.get(current)?.leave?.();
  current = name;
  for (const each of Object.keys(VIEWS)) {
    // A view is shown once its listeners are in place: an earlier click would be lost.
    $(`view-${each}`).hidden = each !== name || !opened.has(each);
    if (each === name) linkTo(each).setAttribute("aria-current", "page");
    else linkTo(each).removeAttribute("aria-current");
  }
  document.body.dataset.view = name;
  document.title = name === "chat" ? "Ingot" : `${linkTo(name).textContent} – Ingot`;
  try {
    if (!opened.has(name)) {
      const view = await VIEWS[name]();
      if (!opened.has(name)) {
        opened.set(name, view);
        view.open($(`view-${name}`));
      }
      $(`view-${name}`).hidden = current !== name;
    }
    if (current === name) opened.get(name).enter?.();
  } catch (error) {
    showNotice(explain(error));
  }
}

function showNotice(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

// ---- The model

function showModels() {
  const select = $("model");
  select.replaceChildren(...models.all().map(({ id }) => el("option", { value: id }, id)));
  select.value = models.current()?.id ?? "";
  select.hidden = models.all().length < 2;
  $("model-name").hidden = !select.hidden;
  $("model-name").textContent = models.current()?.id ?? "";
}

async function loadModels() {
  try {
    await models.load();
    showNotice("");
  } catch (error) {
    showNotice(explain(error));
    if (error instanceof TypeError) setTimeout(loadModels, RECONNECT_MS); // no connection
  }
}

models.onChange(showModels);
$("model").addEventListener("change", () => models.select($("model").value));

// ---- Colours

const THEMES = { system: "screen", light: "sun", dark: "moon" }; // icon by choice

function showTheme() {
  const choice = document.documentElement.dataset.theme;
  const name = `Colours: ${choice}`;
  $("theme").replaceChildren(icon(THEMES[choice]));
  $("theme").setAttribute("aria-label", name);
  $("theme").title = `${name} (t)`;
}

function nextTheme() {
  const choices = Object.keys(THEMES);
  const index = choices.indexOf(document.documentElement.dataset.theme);
  const detail = choices[(index + 1) % choices.length];
  document.dispatchEvent(new CustomEvent("themechoice", { detail }));
  showTheme();
}

$("theme").addEventListener("click", nextTheme);
$("keys").append(icon("keyboard"));
$("keys").addEventListener("click", showKeys);
showTheme();

// ---- Keys

Object.keys(VIEWS).forEach((name, index) => {
  if (!run)
    addKey("Views", String(index + 1), linkTo(name).textContent, () => linkTo(name).click());
});
addKey("Page", "t", "Light, dark, or as the system says", nextTheme);
addKey("Page", "?", "This list", showKeys);

// ---- The API key

onKeyNeeded(() => {
  if (!$("key-dialog").open) $("key-dialog").showModal();
});
$("key-form").addEventListener("submit", () => {
  setKey($("key").value);
  $("key").value = "";
  loadModels();
});

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the fragment of the address names a view, not an element
  $("main").focus();
});
addEventListener("hashchange", showView);
showView();
if (run) {
  for (const link of document.querySelectorAll("nav a")) link.hidden = link.hash !== "#train";
  $("model-name").textContent = run;
} else {
  addEventListener("online", loadModels);
  loadModels();
}
