// Building the document. Text only ever becomes text: nothing here, or anywhere on the page,
// turns a string into HTML.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

// el("p", { class: "help", on: { click } }, "text", child): attributes by name, null leaves one out.
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

export const button = (text, act, attributes = {}) =>
  el("button", { type: "button", on: { click: act }, ...attributes }, text);

// A table whose first row is a head and whose first column names the rows.
export function table(caption, head, rows) {
  const cells = (row) => row.map((cell, place) => (place ? el("td", {}, cell) : el("th", { scope: "row" }, cell)));
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el(
      "table",
      {},
      el("caption", {}, caption),
      el("thead", {}, el("tr", {}, head.map((text) => el("th", { scope: "col" }, text)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, cells(row)))),
    ),
  );
}

// A labelled figure, as the page shows them in rows: a dl holds them.
export const figure = (name, value, wide = false) =>
  el("div", wide ? { class: "wide" } : {}, el("dt", {}, name), el("dd", {}, value));

// Calls `act` at most once a frame, however often it is asked for.
export function oncePerFrame(act) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      act();
    });
  };
}
