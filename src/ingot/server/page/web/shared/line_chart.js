// A line chart drawn by uPlot: drag to zoom, double-click to zoom out, hover to read values and
// what the marks on the curve mean.

import uPlot from "../vendor/uplot/uPlot.min.js";
import { el } from "./elements.js";
import { short } from "./format.js";

const HEIGHT = 240;
const FEW = 12; // values of a curve, each shown as a point
const COLORS = 6; // --curve-0 … --curve-5 in the style sheet
const REACH = 6; // pixels between the pointer and a mark
const MOST_LISTED = 200; // marks
const charts = new WeakMap(); // chart by its container

// A canvas does not follow the style sheet: it is drawn again in the other colours.
document.addEventListener("schemechange", () => {
  for (const container of document.querySelectorAll(".chart")) charts.get(container)?.rebuild();
});

export class LineChart {
  constructor(title, { xName = "", log = false, wide = false } = {}) {
    this.title = title;
    this.xName = xName;
    this.log = log;
    this.series = [];
    this.plot = null;
    // Hovering and zooming are for the eye; assistive technology reads the description.
    this.container = el("div", { class: "chart", role: "img", "aria-label": title });
    this.marks = [];
    this.caption = el("figcaption", {}, title);
    this.pointed = el("p", { class: "help pointed" }); // what the mark under the pointer means
    this.list = el("details", { class: "marks", hidden: true });
    this.element = el(
      "figure",
      { class: wide ? "plot wide" : "plot" },
      this.caption,
      this.container,
      this.pointed,
      this.list,
    );
    charts.set(this.container, this);
    // uPlot needs a width in pixels, which is 0 until the view is shown.
    new ResizeObserver(() => this.resize()).observe(this.container);
  }

  // Shows `series`: [{ name, xs, ys, color, dashed }], each with ascending xs; `color` is a number,
  // by default the place in the list. `marks`: [{ x, kind, text }]. A zoom stays while data grows.
  update(series, { marks = [], title = this.title } = {}) {
    const sameNames =
      series.map(({ name }) => name).join() === this.series.map(({ name }) => name).join();
    this.series = series;
    this.title = title;
    if (this.caption.textContent !== title) this.caption.textContent = title;
    this.showMarks(marks);
    this.container.setAttribute("aria-label", describe(this.title, series));
    if (!this.plot || !sameNames) {
      this.rebuild();
      return;
    }
    const zoomed = isZoomed(this.plot);
    this.plot.setData(this.data(), !zoomed);
    if (zoomed) this.plot.redraw();
  }

  // The series on one common x axis, as uPlot takes them; null where there is no value to draw.
  data() {
    const drawable = (y) => (Number.isFinite(y) && (!this.log || y > 0) ? y : null);
    const tables = this.series.map(({ xs, ys }) => [xs, ys.map(drawable)]);
    if (tables.length === 1) return tables[0];
    return tables.length ? uPlot.join(tables) : [[], []];
  }

  // The list of marks for those who cannot point at them.
  showMarks(marks) {
    const same = marks.length === this.marks.length;
    this.marks = marks;
    if (same) return;
    this.list.hidden = !marks.length;
    this.list.replaceChildren(
      el("summary", {}, `What happened: ${marks.length} ${marks.length === 1 ? "mark" : "marks"}`),
      el(
        "ul",
        {},
        marks.slice(-MOST_LISTED).map(({ kind, text }) => el("li", { class: kind }, text)),
      ),
    );
  }

  rebuild() {
    this.plot?.destroy();
    this.plot = null;
    const width = this.container.clientWidth;
    if (width) this.plot = new uPlot(this.options(width), this.data(), this.container);
  }

  resize() {
    const width = this.container.clientWidth;
    if (!width) return;
    if (this.plot) this.plot.setSize({ width, height: HEIGHT });
    else this.rebuild();
  }

  // Says what the mark nearest to the pointer means.
  point(plot) {
    const near = this.marks
      .map((mark) => ({ mark, distance: Math.abs(plot.valToPos(mark.x, "x") - plot.cursor.left) }))
      .filter(({ distance }) => distance < REACH)
      .sort((a, b) => a.distance - b.distance)
      .slice(0, 3);
    this.pointed.textContent = near.map(({ mark }) => mark.text).join("; ");
  }

  options(width) {
    const style = getComputedStyle(this.container);
    const color = (name) => style.getPropertyValue(name).trim();
    const line = { stroke: color("--line"), width: 1 };
    const axis = {
      stroke: color("--quiet"),
      font: `12px ${style.fontFamily}`,
      grid: line,
      ticks: { ...line, size: 4 },
    };
    const values = (_, ticks) => ticks.map((tick) => (tick === null ? "" : short(tick)));
    const y = { ...axis, size: 60, values };
    if (this.log) {
      // Without a filter uPlot also draws lines at 2, 3, … 9 of each power of ten.
      y.grid = { ...line, filter: powersOfTen };
      y.ticks = { ...axis.ticks, filter: powersOfTen };
      y.filter = powersOfTen;
    }
    const value = (_, number) => (number === null || number === undefined ? "–" : short(number));
    return {
      width,
      height: HEIGHT,
      hooks: {
        draw: [(plot) => drawMarks(plot, this.marks, color)],
        setCursor: [(plot) => this.point(plot)],
      },
      scales: { x: { time: false }, y: { distr: this.log ? LOGARITHMIC : LINEAR } },
      legend: {
        markers: { dash: (_, index) => (this.series[index - 1]?.dashed ? "dashed" : "solid") },
      },
      axes: [{ ...axis, size: 30, values }, y],
      series: [
        { label: this.xName, value },
        ...this.series.map(({ name, ys, color: own = null, dashed }, index) => ({
          label: name,
          value,
          stroke: color(`--curve-${(own ?? index) % COLORS}`),
          width: dashed ? 2 : 1.5,
          dash: dashed ? [7, 4] : undefined,
          // Few values among many of another curve would be lines too short to see.
          points: { fill: color("--page"), ...(ys.length <= FEW && { show: true }) },
          spanGaps: true, // runs that log at different steps are still lines
        })),
      ],
    };
  }
}

// Lines through the curve where something happened; checkpoints are many, so short ones.
function drawMarks(plot, marks, color) {
  const { left, top, width, height } = plot.bbox;
  const context = plot.ctx;
  const ratio = window.devicePixelRatio || 1;
  context.save();
  context.lineWidth = ratio;
  for (const { x, kind } of marks) {
    const at = plot.valToPos(x, "x", true);
    if (at < left || at > left + width) continue;
    const short = kind === "checkpoint";
    context.strokeStyle = color(kind === "guard" || kind === "sealed" ? "--glow" : "--edge");
    context.setLineDash(kind === "rate" || kind === "start" ? [3 * ratio, 3 * ratio] : []);
    context.lineWidth = (kind === "sealed" ? 3 : 1) * ratio;
    context.beginPath();
    context.moveTo(at, short ? top + height - 8 * ratio : top);
    context.lineTo(at, top + height);
    context.stroke();
  }
  context.restore();
}

// uPlot's numbers for the spacing of an axis.
const LINEAR = 1;
const LOGARITHMIC = 3;

// Ticks are sums in floating point, so 0.3 may come as 0.30000000000000004.
function powersOfTen(_, ticks) {
  const isPower = (tick) => Math.abs(Math.log10(tick) - Math.round(Math.log10(tick))) < 1e-9;
  return ticks.map((tick) => (isPower(tick) ? tick : null));
}

function isZoomed(plot) {
  const xs = plot.data[0];
  const { min, max } = plot.scales.x;
  return xs.length > 1 && (min > xs[0] || max < xs.at(-1));
}

function describe(title, series) {
  const parts = series.map(({ name, ys }) =>
    ys.length ? `${name}: from ${short(ys[0])} to ${short(ys.at(-1))}` : `${name}: no data yet`,
  );
  return `${title}. ${parts.join("; ")}`;
}
