// The page: five rooms, one at a time, by the part of the address after #.

import { explain, onKeyNeeded, setKey } from "./api.js";
import { $, el } from "./dom.js";
import * as models from "./models.js";

const ROOMS = {
  play: () => import("./play/room.js"),
  train: () => import("./train.js"),
  serve: () => import("./serve.js"),
  phases: () => import("./phases.js"),
  learn: () => import("./learn/room.js"),
};
const opened = new Map(); // name -> the room's module
let here = null;

const run = document.body.dataset.run; // there where the page is a run's own: it has but one room

async function go() {
  const asked = location.hash.slice(1) in ROOMS ? location.hash.slice(1) : "play";
  const name = run ? "train" : asked;
  if (name === here) return;
  opened.get(here)?.leave?.();
  here = name;
  for (const room of Object.keys(ROOMS)) {
    // A room is shown once it listens: what is clicked before would be lost.
    $(`room-${room}`).hidden = room !== name || !opened.has(room);
    const link = document.querySelector(`nav a[href="#${room}"]`);
    if (room === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = name === "play" ? "Ingot" : `${document.querySelector(`nav a[href="#${name}"]`).textContent} – Ingot`;
  try {
    if (!opened.has(name)) {
      opened.set(name, await ROOMS[name]());
      opened.get(name).open($(`room-${name}`));
      $(`room-${name}`).hidden = here !== name;
    }
    if (here === name) opened.get(name).enter?.();
  } catch (error) {
    notice(explain(error));
  }
}

// ---- The head: which model, and what is wrong

function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

function showModels() {
  const select = $("model");
  select.replaceChildren(...models.all().map((model) => el("option", { value: model.id }, model.id)));
  select.value = models.current()?.id ?? "";
  select.hidden = models.all().length < 2;
  $("model-name").hidden = !select.hidden;
  $("model-name").textContent = models.current()?.id ?? "";
}

async function findModels() {
  try {
    await models.load();
    notice("");
  } catch (error) {
    notice(explain(error));
    if (error instanceof TypeError) setTimeout(findModels, 2000); // until the server is back
  }
}

models.onChange(showModels);
$("model").addEventListener("change", () => models.choose($("model").value));

// ---- An API key, where the server asks for one

onKeyNeeded(() => {
  if (!$("key-dialog").open) $("key-dialog").showModal();
});
$("key-form").addEventListener("submit", () => {
  setKey($("key").value);
  $("key").value = "";
  findModels();
});

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the part after # names a room
  $("main").focus();
});
addEventListener("hashchange", go);
addEventListener("online", () => run || findModels());
go();
if (run) {
  for (const link of document.querySelectorAll("nav a")) link.hidden = link.hash !== "#train";
  $("model-name").textContent = run;
} else findModels();
