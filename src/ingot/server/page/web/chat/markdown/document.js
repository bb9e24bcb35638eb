// A Markdown text as elements, updated in place while it grows.
//
// What did not change keeps its elements, and a text that grew is appended to: a selection and the
// reader's place survive. No string is parsed as HTML; a tag in the text is shown as text.

import { codeBlock } from "./code_block.js";
import { build, childrenOf, isSame, refresh } from "./elements_of.js";
import { blocksOf } from "./syntax.js";

const OPEN_BLOCKS = 2; // at the end, whose extent later text may change

export class MarkdownDocument {
  constructor(container) {
    this.container = container;
    this.settled = ""; // the text of blocks that no longer change
    this.root = { node: container, children: [] };
    this.settledCount = 0;
  }

  // Shows `text`, which mostly continues what was shown before. Once it `ended`, references between
  // far parts are resolved and code is coloured.
  update(text, ended = false) {
    const source = text.replaceAll("\r\n", "\n");
    if (ended || !source.startsWith(this.settled)) {
      this.settled = "";
      this.settledCount = 0;
    }
    const blocks = blocksOf(source.slice(this.settled.length)).filter(isShown);
    const kept = this.root.children.slice(0, this.settledCount);
    patch(this.root, [...kept.map(({ token }) => token), ...blocks]);
    if (ended) {
      for (const { block } of this.root.children) block?.finish();
      return;
    }
    const settling = blocks.slice(0, Math.max(0, blocks.length - OPEN_BLOCKS));
    this.settle(source, settling);
  }

  // Notes that blocks are complete, so that they are not read again with each new token.
  settle(source, blocks) {
    for (const { raw } of blocks) {
      const next = source.indexOf(raw, this.settled.length);
      // Blank lines between blocks belong to none of the shown ones.
      if (next < 0 || source.slice(this.settled.length, next).trim()) return;
      this.settled = source.slice(0, next + raw.length);
      this.root.children[this.settledCount]?.block?.finish();
      this.settledCount += 1;
    }
  }
}

const isShown = ({ type }) => type !== "space" && type !== "def";

// Makes the children of `parent` those of `tokens`. An entry is { token, node, children, block }.
function patch(parent, tokens) {
  const before = parent.children;
  parent.children = tokens.map((token, index) => {
    const known = before[index];
    if (known?.token === token) return known;
    if (!known || !isSame(known.token, token)) return create(token);
    if (known.token.raw !== token.raw || token.type === "text") update(known, token);
    known.token = token;
    return known;
  });
  const inside = parent.inside ?? parent.node;
  parent.children.forEach(({ node }, index) => {
    if (inside.childNodes[index] !== node)
      inside.insertBefore(node, inside.childNodes[index] ?? null);
  });
  while (inside.childNodes.length > tokens.length) inside.lastChild.remove();
}

function create(token) {
  if (token.type === "code") {
    const block = codeBlock(token);
    return { token, node: block.element, children: [], block };
  }
  const entry = { token, ...build(token), children: [] };
  const children = childrenOf(token);
  if (children) patch(entry, children);
  return entry;
}

function update(entry, token) {
  if (entry.block) {
    entry.block.update(token);
    return;
  }
  refresh(entry.node, token);
  const children = childrenOf(token);
  if (children) patch(entry, children);
}
