// The view Learn: the lesson, one idea a screen, from the same text as `ingot lesson`.

import { explain, json } from "../shared/api.js";
import { button, el } from "../shared/elements.js";
import { readRecord } from "../shared/lesson_record.js";
import { loadStyles } from "../shared/stylesheet.js";
import * as progress from "./progress.js";
import { scoreScreen, sectionScreen } from "./screens.js";
import { glossary } from "./terms.js";

export async function open(view) {
  view.append(el("p", { class: "status" }, "Loading…"));
  try {
    const [content, record] = await Promise.all([
      json("lesson/content"),
      readRecord().catch((error) => ({ missing: explain(error) })),
      loadStyles("learn/learn.css"),
    ]);
    show(view, content, record);
  } catch (error) {
    view.replaceChildren(el("p", { class: "status error" }, explain(error)));
  }
}

// Shows the lesson from the screen that the reader last saw.
function show(view, content, record) {
  const changed = () => {
    for (const mark of marks) mark();
  };
  const lesson = { content, record, changed, go };
  const screens = screensOf(lesson);
  const opened = new Map(); // element by the screen's id: what was tried stays as it was
  const current = el("article", { class: "screen", tabindex: "-1" });
  const bar = el("progress", { max: screens.length, "aria-label": "Progress" });
  const count = el("span", {});
  const back = button("Back", () => step(-1));
  const forward = button("Next", () => step(1), { class: "primary" });
  const entries = screens.map(({ id, title, isDone }, index) => {
    const state = el("span", { class: "state", "aria-hidden": "true" });
    const link = button([`${index + 1}. ${title}`], () => go(id), { class: "entry" }, state);
    return { id, link, state, isDone };
  });
  const marks = entries.map(({ state, isDone }) => () => {
    state.textContent = isDone() ? "\u00a0✓" : "";
  });
  let index = Math.max(
    screens.findIndex(({ id }) => id === progress.screen()),
    0,
  );

  function render(focused) {
    const { id, title, make } = screens[index];
    if (!opened.has(id)) {
      const heading = el("h2", { class: "large" }, title);
      opened.set(id, [heading, ...make().filter(Boolean)]);
    }
    current.replaceChildren(...opened.get(id));
    bar.value = index + 1;
    count.textContent = `${index + 1} of ${screens.length}`;
    back.disabled = index === 0;
    forward.hidden = index === screens.length - 1;
    for (const entry of entries) {
      if (entry.id === id) entry.link.setAttribute("aria-current", "step");
      else entry.link.removeAttribute("aria-current");
    }
    lesson.changed();
    if (!focused) return;
    contents.open = isWide();
    current.focus({ preventScroll: true });
    scrollTo(0, 0);
  }

  function go(id) {
    index = screens.findIndex((each) => each.id === id);
    progress.setScreen(id);
    render(true);
  }

  const step = (by) => go(screens[index + by].id);
  const contents = contentsOf(entries, content, () => {
    progress.restart();
    opened.clear();
    go(screens[0].id);
  });
  view.replaceChildren(
    el(
      "div",
      { class: "lesson" },
      contents,
      el(
        "div",
        { class: "lesson-main" },
        el("div", { class: "lesson-progress" }, bar, count),
        current,
        el("div", { class: "lesson-steps" }, back, forward),
      ),
    ),
  );
  render(false);
}

// The screens in order: each { id, title, make(), isDone() }. The score comes before the last one.
function screensOf(lesson) {
  const { content } = lesson;
  const sections = content.sections.map((section) => ({
    id: section.id,
    title: section.title,
    make: () => [...introduction(lesson, section), ...sectionScreen(lesson, section)],
    isDone: () => Boolean(section.question && progress.answerTo(section.question)),
  }));
  const score = {
    id: "score",
    title: content.score.title,
    make: () => [scoreScreen(lesson)],
    isDone: () => content.questions.every(({ id }) => progress.answerTo(id)),
  };
  return [...sections.slice(0, -1), score, ...sections.slice(-1)];
}

// What stands above the first screen alone.
function introduction({ content, record }, section) {
  if (section !== content.sections[0]) return [];
  return [
    el("p", { class: "lead" }, content.intro.trim()),
    el(
      "p",
      { class: "help" },
      `${content.sections.length} parts and ${content.questions.length} questions, less than ${content.minutes} minutes. Where you are is kept in this browser.`,
    ),
    record.missing
      ? el(
          "p",
          { class: "notice" },
          `${record.missing}. Until then the experiments that train are left out here; all others run.`,
        )
      : null,
  ];
}

const isWide = () => matchMedia("(min-width: 60rem)").matches;

function contentsOf(entries, content, restart) {
  return el(
    "details",
    { class: "contents", open: isWide() },
    el("summary", {}, "Contents"),
    el(
      "nav",
      { "aria-label": "Contents of the lesson" },
      el(
        "ol",
        {},
        entries.map(({ link }) => el("li", {}, link)),
      ),
    ),
    glossary(content),
    button("Start again", restart, { class: "quiet" }),
  );
}
