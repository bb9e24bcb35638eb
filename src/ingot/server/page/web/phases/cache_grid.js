// The key-value cache as a grid: a row for each user, a cell for each token, in blocks.

import { el } from "../shared/elements.js";

export class CacheGrid {
  constructor() {
    this.body = el("div", { class: "kv-grid" });
    this.element = this.body;
    this.rows = [];
  }

  // prompts: tokens of each user's prompt; length: tokens that a row may hold.
  reset(prompts, length, blockSize) {
    const blocks = Math.ceil(length / blockSize);
    this.rows = prompts.map((prompt) => ({ prompt, filled: 0, cells: [] }));
    const rows = this.rows.map((each, user) => {
      const groups = Array.from({ length: blocks }, () => {
        const cells = Array.from({ length: blockSize }, () => el("i", {}));
        each.cells.push(...cells);
        return el("span", { class: "block" }, cells);
      });
      return el("div", { class: `lane user-${user}` }, groups);
    });
    this.body.replaceChildren(...rows);
  }

  // Fills a user's row up to `count` tokens.
  fill(user, count) {
    const each = this.rows[user];
    for (; each.filled < count && each.filled < each.cells.length; each.filled += 1)
      each.cells[each.filled].className = each.filled < each.prompt ? "prompt" : "written";
  }

  // Empties a user's row: nothing is kept from one token to the next.
  empty(user) {
    const each = this.rows[user];
    for (const cell of each.cells) cell.className = "";
    each.filled = 0;
  }

  // Tokens held in all rows.
  held() {
    return this.rows.reduce((sum, { filled }) => sum + filled, 0);
  }
}
