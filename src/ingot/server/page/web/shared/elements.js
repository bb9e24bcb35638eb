// DOM construction helpers. Text only ever becomes text nodes: no string is parsed as HTML here
// or anywhere else on the page.

import { icon } from "./icons.js";

export const $ = (id) => document.getElementById(id);

// Creates an element: el("p", { class: "help", on: { click } }, "text", child).
// Attributes that are null, undefined or false are left out.
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value))
        element.addEventListener(event, listener);
    } else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false)
      element.setAttribute(name, value);
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined),
  );
  return element;
}

export const button = (text, onClick, attributes = {}, ...children) =>
  el("button", { type: "button", on: { click: onClick }, ...attributes }, text, children);

// A table with a header row; the first cell of each row is its header. With `records` each row is a
// separate block on a phone.
export function table(caption, header, rows, { records = false } = {}) {
  const cells = (row) =>
    row.map((cell, column) =>
      column
        ? el("td", { "data-label": records && header[column] }, cell)
        : el("th", { scope: "row" }, cell),
    );
  return el(
    "div",
    // Focusable, so that the keyboard can scroll a table wider than the screen.
    {
      class: records ? "scroll records" : "scroll",
      tabindex: "0",
      role: "region",
      "aria-label": caption,
    },
    el(
      "table",
      {},
      el("caption", {}, caption),
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          header.map((text) => el("th", { scope: "col" }, text)),
        ),
      ),
      el(
        "tbody",
        {},
        rows.map((row) => el("tr", {}, cells(row))),
      ),
    ),
  );
}

// A button with an icon alone; its name is read aloud and shown when it is pointed at.
export function iconButton(name, iconName, onClick, attributes = {}) {
  const classes = `icon-button ${attributes.class ?? ""}`.trim();
  const shown = { title: name, ...attributes, "aria-label": name, class: classes };
  return button("", onClick, shown, icon(iconName));
}

// A labelled value; a <dl> holds a row of them.
export const figure = (name, value, wide = false) =>
  el("div", wide ? { class: "wide" } : {}, el("dt", {}, name), el("dd", {}, value));

const REST = 4; // times as long as the work that came before

// Like oncePerFrame, but after long work there is a rest, in which the page answers its reader.
export function paced(callback) {
  let waiting = false;
  let free = 0; // when the next work may begin
  const frame = () => {
    const start = performance.now();
    if (start < free) {
      requestAnimationFrame(frame);
      return;
    }
    waiting = false;
    callback();
    const end = performance.now();
    free = end + REST * (end - start);
  };
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(frame);
  };
}

// Returns a function that calls `callback` at most once per frame, however often it is called.
export function oncePerFrame(callback) {
  let requested = false;
  return () => {
    if (requested) return;
    requested = true;
    requestAnimationFrame(() => {
      requested = false;
      callback();
    });
  };
}
