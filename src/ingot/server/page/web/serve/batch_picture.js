// The live picture of an engine: who runs, who waits, and who holds the blocks of the cache.

import { el } from "../shared/elements.js";
import * as format from "../shared/format.js";

const COLORS = 8; // --user-0 … --user-7 in the view's style sheet
const MOST_LANES = 16;
const [EMPTY, CACHED, SHARED] = [-1, -2, -3]; // codes of cells without one owner
const CELL = 13; // pixels of a cell and its gap
const GAP = 2;

export class BatchPicture {
  constructor() {
    this.running = el("ol", { class: "running" });
    this.waiting = el("p", { class: "waiting" });
    this.title = el("h3", {});
    this.blocks = el("canvas", { class: "blocks", role: "img" });
    this.held = el("p", { class: "help" });
    this.element = el(
      "section",
      { class: "batch-picture", "aria-label": "The batch, live" },
      this.title,
      el(
        "div",
        { class: "sides" },
        el("div", { class: "side" }, this.running, this.waiting),
        el("div", { class: "side" }, this.blocks, legend(), this.held),
      ),
    );
    new ResizeObserver(() => this.drawBlocks()).observe(this.blocks.parentElement);
  }

  // own: one model's entry of /admin/batch.
  show(own) {
    this.batch = own.batch;
    const { running, running_total, waiting_total } = own.batch;
    const now = `${format.whole(running_total)} running, ${format.whole(waiting_total)} waiting`;
    this.title.textContent = `${own.model}: ${running_total || waiting_total ? now : "at rest"}`;
    const lanes = running.slice(0, MOST_LANES).map(lane);
    const hidden = running_total - lanes.length;
    if (hidden > 0) lanes.push(el("li", { class: "help" }, `and ${format.whole(hidden)} more`));
    if (!lanes.length) lanes.push(el("li", { class: "help" }, "Nobody asks at the moment."));
    this.running.replaceChildren(...lanes);
    this.showWaiting(own.batch);
    this.drawBlocks();
    this.showHeld(own);
  }

  showWaiting({ waiting, waiting_total }) {
    const dots = waiting.map(() => el("span", { class: "dot", "aria-hidden": "true" }));
    this.waiting.replaceChildren(el("span", {}, waiting_total ? "Waiting: " : ""), ...dots);
  }

  showHeld({ batch, kv_bytes_per_token: each }) {
    const { blocks_held, blocks_total, blocks_cached, blocks_per_cell, block_size } = batch;
    const bytes = format.bytes(blocks_held * block_size * each);
    this.held.textContent = `${format.whole(blocks_held)} of ${format.whole(blocks_total)} blocks held (${bytes}), ${format.whole(blocks_cached)} kept for prompts that begin alike. A block holds ${block_size} tokens${blocks_per_cell > 1 ? `; a square stands for ${blocks_per_cell} blocks` : ""}.`;
    this.blocks.setAttribute("aria-label", this.held.textContent);
  }

  drawBlocks() {
    const width = this.blocks.parentElement.clientWidth;
    if (!width || !this.batch) return;
    const { cells, running } = this.batch;
    const columns = Math.max(1, Math.floor((width + GAP) / CELL));
    const height = Math.ceil(cells.length / columns) * CELL;
    const ratio = window.devicePixelRatio || 1;
    this.blocks.width = Math.round(width * ratio);
    this.blocks.height = Math.round(height * ratio);
    this.blocks.style.height = `${height}px`;
    const style = getComputedStyle(this.element);
    const color = (name) => style.getPropertyValue(name).trim();
    const users = Array.from({ length: COLORS }, (_, index) => color(`--user-${index}`));
    const others = {
      [EMPTY]: color("--empty"),
      [CACHED]: color("--kept"),
      [SHARED]: color("--shared"),
    };
    const context = this.blocks.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    for (const [index, code] of cells.entries()) {
      context.fillStyle =
        code >= 0 ? users[running[code].id % COLORS] : (others[code] ?? others[SHARED]);
      context.fillRect(
        (index % columns) * CELL,
        Math.floor(index / columns) * CELL,
        CELL - GAP,
        CELL - GAP,
      );
    }
  }
}

// One running sequence: its prompt, the part of it that was cached, and its answer as it grows.
function lane({
  id,
  tenant,
  prompt_tokens,
  cached_tokens,
  computed,
  written,
  max_tokens,
  blocks,
  seconds,
}) {
  const whole = prompt_tokens + max_tokens;
  const part = (kind, tokens) => {
    const bar = el("span", { class: kind });
    bar.style.width = `${(100 * Math.max(0, tokens)) / whole}%`;
    return bar;
  };
  const read = Math.min(computed, prompt_tokens) - cached_tokens;
  const words = `${tenant ? `${tenant}, ` : ""}${format.whole(prompt_tokens)} read, ${format.whole(written)} of ${format.whole(max_tokens)} written, ${count(blocks, "block", "blocks")}, ${format.seconds(seconds)}`;
  return el(
    "li",
    { class: `user-${id % COLORS}` },
    el(
      "span",
      { class: "track", "aria-hidden": "true" },
      part("cached", cached_tokens),
      part("read", read),
      part("written", written),
    ),
    el("span", { class: "help" }, words),
  );
}

const count = (value, one, many) => `${format.whole(value)} ${value === 1 ? one : many}`;

const legend = () =>
  el(
    "p",
    { class: "legend", "aria-hidden": "true" },
    ["held", "shared", "kept", "empty"].map((kind) => el("span", { class: kind }, kind)),
  );
