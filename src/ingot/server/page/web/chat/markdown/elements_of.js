// The element of each kind of Markdown token.

import { el } from "../../shared/elements.js";
import { decoded } from "./syntax.js";

const SAFE = /^(?:https?:|mailto:)/i;

const SIMPLE = {
  paragraph: "p",
  blockquote: "blockquote",
  strong: "strong",
  em: "em",
  del: "del",
  hr: "hr",
  br: "br",
};

// Whether a token of a later reading can take the element of an earlier one.
export function isSame(before, after) {
  if (before.type !== after.type) return false;
  if (before.type === "heading") return before.depth === after.depth;
  if (before.type === "list")
    return before.ordered === after.ordered && before.start === after.start;
  if (before.type === "list_item")
    return before.task === after.task && before.checked === after.checked;
  if (before.type === "link") return before.href === after.href;
  if (before.type === "table_row") return before.header === after.header;
  if (before.type === "table_cell")
    return before.header === after.header && before.align === after.align;
  return Boolean(before.tokens) === Boolean(after.tokens);
}

// The tokens inside a token; null where it holds text alone.
export function childrenOf(token) {
  // Whether an item's text is a paragraph may depend on later items.
  if (token.type === "list") {
    return token.items.map((item) => ({
      ...item,
      type: "list_item",
      raw: `${item.loose}:${item.raw}`,
    }));
  }
  if (token.type === "table") return rowsOf(token);
  if (token.type === "table_row") return token.cells;
  if (token.type === "image") return null;
  return (
    token.tokens?.filter(({ type }) => type !== "space" && type !== "def" && type !== "checkbox") ??
    null
  );
}

function rowsOf({ header, rows }) {
  const cell = (each) => ({ ...each, type: "table_cell", raw: each.text });
  const row = (cells, isHeader) => ({
    type: "table_row",
    header: isHeader,
    cells: cells.map(cell),
    // Later lines may change the alignment of cells that are there.
    raw: cells.map(({ text, align }) => `${align}:${text}`).join("|"),
  });
  return [row(header, true), ...rows.map((cells) => row(cells, false))];
}

// Returns { node, inside }; `inside` holds the children where it is not the node itself.
export function build(token) {
  const { type } = token;
  if (SIMPLE[type]) return { node: el(SIMPLE[type]) };
  if (type === "heading") return { node: el(`h${Math.min(6, token.depth + 2)}`) }; // below the page's
  if (type === "list") return { node: list(token) };
  if (type === "list_item") return listItem(token);
  if (type === "table") return table();
  if (type === "table_row") return { node: el("tr") };
  if (type === "table_cell") {
    const align = token.align ? `align-${token.align}` : null;
    return {
      node: el(token.header ? "th" : "td", { class: align, scope: token.header ? "col" : null }),
    };
  }
  if (type === "codespan") return { node: el("code", {}, decoded(token.text)) };
  if (type === "math") return { node: el("span", { class: "math" }, token.text) };
  if (type === "link") return { node: link(token.href) };
  if (type === "image") return { node: image(token) };
  if (type === "text" && token.tokens) return { node: el("span") };
  return { node: document.createTextNode(textOf(token)) };
}

// Brings an element up to date with its token; its children are patched apart.
export function refresh(node, token) {
  if (token.type === "codespan" || token.type === "math") {
    const text = token.type === "math" ? token.text : decoded(token.text);
    if (node.textContent !== text) node.textContent = text;
  } else if (token.type === "image") {
    node.replaceChildren(...image(token).childNodes);
  } else if (node.nodeType === Node.TEXT_NODE) {
    const text = textOf(token);
    if (text.startsWith(node.data)) node.appendData(text.slice(node.data.length));
    else node.data = text;
  }
}

function textOf(token) {
  if (token.type === "html") return token.raw;
  return decoded(token.text ?? token.raw);
}

function list({ ordered, start }) {
  if (!ordered) return el("ul");
  return el("ol", { start: start !== 1 && start !== "" ? start : null });
}

function listItem({ task, checked }) {
  if (!task) return { node: el("li") };
  const inside = el("div");
  const box = el("input", { type: "checkbox", checked, disabled: true, "aria-label": "Done" });
  return { node: el("li", { class: "task" }, box, inside), inside };
}

function table() {
  const inside = el("tbody");
  const attributes = { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table" };
  return { node: el("div", attributes, el("table", {}, inside)), inside };
}

// Only addresses of the web and of mail are links; the page is left in another tab.
function link(href) {
  if (!SAFE.test(href)) return el("span");
  return el("a", { href, target: "_blank", rel: "noopener noreferrer nofollow" });
}

// Nothing is loaded from elsewhere, so an image is its address.
function image({ href, text }) {
  const address = link(href);
  address.append(text ? decoded(text) : href);
  return el("span", { class: "image" }, "Image: ", address);
}
