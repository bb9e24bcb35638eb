// The page's frame: one view at a time, by the fragment of the address; the model; the API key.

import { explain, onKeyNeeded, setKey } from "./shared/api.js";
import { $, el } from "./shared/elements.js";
import * as models from "./shared/models.js";

// A view is a module with open(section), called once, and optional enter() and leave().
const VIEWS = {
  play: () => import("./play/view.js"),
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
  const name = run ? "train" : Object.hasOwn(VIEWS, fragment) ? fragment : "play";
  if (name === current) return;
  opened.get(current)?.leave?.();
  current = name;
  for (const each of Object.keys(VIEWS)) {
    // A view is shown once its listeners are in place: an earlier click would be lost.
    $(`view-${each}`).hidden = each !== name || !opened.has(each);
    if (each === name) linkTo(each).setAttribute("aria-current", "page");
    else linkTo(each).removeAttribute("aria-current");
  }
  document.title = name === "play" ? "Ingot" : `${linkTo(name).textContent} – Ingot`;
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
