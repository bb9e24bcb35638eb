// A model's weight matrices as a mosaic on a canvas: a tile for each, a cell for a group of its
// weights. Cells that an update changed glow; a band passes over weights that are read, and another
// one back over those that are written.

import { el } from "../shared/elements.js";
import { animate, isStill } from "../shared/motion.js";

const GAP = 3; // pixels between tiles
const BAND = 60; // pixels that the band is wide
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
    this.band = null; // position of the band, from 0 to 1
    this.isBackward = false; // whether the band runs back, in the colour of change
    this.mosaic = document.createElement("canvas"); // the picture without the band
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

  // Draws the band that passes over all weights at `share` of its way; null takes it away.
  read(share) {
    this.pass(share, false);
  }

  // Sends the band once over the weights: forward as they are read, backward as they are written.
  async sweep(ms, isBackward) {
    if (isStill()) return;
    await animate(ms, (share) => this.pass(share, isBackward));
    this.pass(null, false);
  }

  pass(share, isBackward) {
    this.band = isStill() ? null : share;
    this.isBackward = isBackward;
    this.drawBand();
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
    for (const canvas of [this.canvas, this.mosaic]) fit(canvas, width * ratio, height * ratio);
    this.canvas.style.height = `${height}px`;
    const context = this.mosaic.getContext("2d");
    const [steel, ember] = ["--weight", "--change"].map((name) => this.color(name));
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    for (const [index, matrix] of this.matrices.entries()) {
      const x = (index % columns) * (size + GAP);
      const y = Math.floor(index / columns) * (size + GAP);
      this.drawTile(context, matrix, x, y, size, steel, ember);
    }
    this.drawBand();
  }

  // Copies the mosaic and lays the band over it: of the many tiles none is drawn again.
  drawBand() {
    const { width, height } = this.canvas;
    if (!width || !this.layout()) return;
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    context.drawImage(this.mosaic, 0, 0);
    if (this.band === null) return;
    const band = BAND * (window.devicePixelRatio || 1);
    const way = this.isBackward ? 1 - this.band : this.band;
    const x = way * (width + band) - band;
    const [tail, head] = this.isBackward ? [x + band, x] : [x, x + band];
    const gradient = context.createLinearGradient(tail, 0, head, 0);
    gradient.addColorStop(0, "transparent");
    gradient.addColorStop(1, this.color(this.isBackward ? "--change" : "--reading"));
    context.globalCompositeOperation = "source-atop";
    context.globalAlpha = 0.8;
    context.fillStyle = gradient;
    context.fillRect(x, 0, band, height);
    context.globalAlpha = 1;
    context.globalCompositeOperation = "source-over";
  }

  color(name) {
    return getComputedStyle(this.element).getPropertyValue(name).trim();
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

function fit(canvas, width, height) {
  const [x, y] = [Math.round(width), Math.round(height)];
  if (canvas.width === x && canvas.height === y) return;
  canvas.width = x;
  canvas.height = y;
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
