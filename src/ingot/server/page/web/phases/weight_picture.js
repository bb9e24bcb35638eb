// A model's weight matrices as a mosaic on a canvas: a tile for each, a cell for a group of its
// weights. Cells that an update changed glow; a band passes over weights that are read.

import { el } from "../shared/elements.js";
import { animate, isStill } from "../shared/motion.js";

const GAP = 3; // pixels between tiles
const SHAPE = 2.4; // width of the mosaic by its height
const FAINTEST = 3; // powers of ten below the largest change that are still seen

export class WeightPicture {
  constructor(label) {
    this.canvas = el("canvas", { class: "weights", role: "img", "aria-label": label });
    this.caption = el("p", { class: "pointed", "aria-hidden": "true" });
    this.element = el("div", { class: "picture" }, this.canvas, this.caption);
    this.matrices = [];
    this.changes = null; // by matrix: how far each cell moved, as a share of its size
    this.glow = 0; // strength of the glow, from 0 to 1
    this.band = null; // position of the reading band, from 0 to 1
    new ResizeObserver(() => this.draw()).observe(this.element);
    document.addEventListener("schemechange", () => this.draw());
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => {
      this.caption.textContent = "";
    });
  }

  show(picture) {
    this.matrices = picture.matrices.map((matrix) => ({ ...matrix, levels: levels(matrix.cells) }));
    this.changes = null;
    this.draw();
  }

  // Lights the cells that changed, then lets the glow fade to an ember that stays.
  async light(changes) {
    this.changes = changes;
    this.largest = Math.max(...Object.values(changes).flat(), Number.MIN_VALUE);
    await animate(700, (share) => {
      this.glow = share < 0.3 ? share / 0.3 : 1 - 0.35 * ((share - 0.3) / 0.7);
      this.draw();
    });
  }

  // Draws the band that reads all weights at `share` of its way; null takes it away.
  read(share) {
    this.band = isStill() ? null : share;
    this.draw();
  }

  // The position and size of each tile, in CSS pixels.
  layout() {
    const width = this.element.clientWidth;
    const count = this.matrices.length;
    if (!width || !count) return null;
    const columns = Math.min(count, Math.max(4, Math.ceil(Math.sqrt(count * SHAPE))));
    const size = (width - GAP * (columns - 1)) / columns;
    const rows = Math.ceil(count / columns);
    return { width, columns, size, height: rows * size + GAP * (rows - 1) };
  }

  draw() {
    const layout = this.layout();
    if (!layout) return;
    const { width, height, columns, size } = layout;
    const ratio = window.devicePixelRatio || 1;
    const [pixelsX, pixelsY] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== pixelsX || this.canvas.height !== pixelsY) {
      this.canvas.width = pixelsX;
      this.canvas.height = pixelsY;
      this.canvas.style.height = `${height}px`;
    }
    const context = this.canvas.getContext("2d");
    const style = getComputedStyle(this.element);
    const color = (name) => style.getPropertyValue(name).trim();
    const [steel, ember, reading] = ["--weight", "--change", "--reading"].map(color);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    for (const [index, matrix] of this.matrices.entries()) {
      const x = (index % columns) * (size + GAP);
      const y = Math.floor(index / columns) * (size + GAP);
      this.drawTile(context, matrix, x, y, size, steel, ember);
    }
    if (this.band !== null) {
      const x = this.band * (width + 60) - 60;
      const gradient = context.createLinearGradient(x, 0, x + 60, 0);
      gradient.addColorStop(0, "transparent");
      gradient.addColorStop(1, reading);
      context.globalCompositeOperation = "source-atop";
      context.globalAlpha = 0.8;
      context.fillStyle = gradient;
      context.fillRect(x, 0, 60, height);
      context.globalCompositeOperation = "source-over";
    }
    context.globalAlpha = 1;
  }

  drawTile(context, { name, rows, columns, levels: shades }, x, y, size, steel, ember) {
    const [width, height] = [size / columns, size / rows];
    const changed = this.changes?.[name];
    for (let cell = 0; cell < shades.length; cell += 1) {
      const left = x + (cell % columns) * width;
      const top = y + Math.floor(cell / columns) * height;
      context.globalAlpha = 0.14 + 0.5 * shades[cell];
      context.fillStyle = steel;
      context.fillRect(left, top, width + 0.3, height + 0.3);
      if (!changed?.[cell]) continue;
      const strength = 1 + Math.log10(changed[cell] / this.largest) / FAINTEST;
      if (strength <= 0) continue;
      context.globalAlpha = this.glow * (0.15 + 0.85 * strength);
      context.fillStyle = ember;
      context.fillRect(left, top, width + 0.3, height + 0.3);
    }
  }

  point(event) {
    const layout = this.layout();
    if (!layout) return;
    const step = layout.size + GAP;
    const [x, y] = [event.offsetX / step, event.offsetY / step].map(Math.floor);
    const matrix = this.matrices[y * layout.columns + x];
    this.caption.textContent = matrix && x < layout.columns ? describe(matrix) : "";
  }
}

// Shades from 0 to 1 that spread the cells of one matrix.
function levels(cells) {
  const [least, most] = [Math.min(...cells), Math.max(...cells)];
  return cells.map((cell) => (most > least ? (cell - least) / (most - least) : 0.5));
}

const PARTS = {
  embed_tokens: "embedding of each token",
  position_embeddings: "embedding of each position",
  lm_head: "output head: a score for each token",
  q_proj: "attention, queries",
  k_proj: "attention, keys",
  v_proj: "attention, values",
  o_proj: "attention, output",
  gate_proj: "feed-forward, gate",
  up_proj: "feed-forward, up",
  down_proj: "feed-forward, down",
};

function describe({ name, shape }) {
  const layer = /layers\.(\d+)\./.exec(name);
  const part = Object.keys(PARTS).find((each) => name.includes(each));
  const where = layer ? `Layer ${Number(layer[1]) + 1}: ` : "";
  return `${where}${part ? PARTS[part] : name}, ${shape.join(" × ")} weights`;
}
