// The room Learn: the lesson, from the same words as `ingot lesson`, with experiments that run.

import { explain, json } from "../api.js";
import { el } from "../dom.js";
import { readRecord } from "../record.js";
import { frozenWeight } from "./frozen_weight.js";
import { asked, largeModel, sideBySide, update } from "./full_size.js";
import { oneWeight } from "./one_weight.js";
import { questions } from "./questions.js";
import { switches } from "./switches.js";

const EXPERIMENTS = {
  "one-weight": (content) => [oneWeight(content.one_weight)],
  "frozen-weight": (content) => [frozenWeight(content.frozen_weight)],
  "full-size": (_, record) => [update(record), asked(record)],
  "side-by-side": (_, record) => [sideBySide(record), largeModel(record)],
  "system-design": (_, record) => [switches(record)],
};

export async function open(room) {
  room.append(el("p", { class: "status" }, "One moment…"));
  try {
    const content = await json("lesson/content");
    const record = await readRecord().catch((error) => ({ missing: explain(error) }));
    const parts = [
      el("h2", { class: "large" }, content.title),
      ...content.intro.trim().split("\n\n").map((text) => el("p", { class: "lead" }, text)),
      record.missing ? el("p", { class: "notice" }, `${record.missing}. Until then the experiments that train are left out here; all others run.`) : null,
      ...content.sections.map((section) => part(section, content, record)),
      questions(content.questions, record),
    ];
    room.replaceChildren(...parts.filter(Boolean));
  } catch (error) {
    room.replaceChildren(el("p", { class: "status error" }, explain(error)));
  }
}

function part(section, content, record) {
  const words = (texts) => texts.map((text) => el("p", {}, text));
  return el(
    "section",
    { id: `learn-${section.id}`, "aria-labelledby": `title-${section.id}` },
    el("h2", { id: `title-${section.id}` }, section.title),
    ...words(section.text),
    ...EXPERIMENTS[section.id](content, record),
    el("div", { class: "after" }, ...words(section.after)),
  );
}
