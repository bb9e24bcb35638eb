// A line chart drawn by uPlot: drag to zoom, double-click to zoom out, hover to read values.

import uPlot from "../vendor/uplot/uPlot.min.js";
import { el } from "./elements.js";
import { short } from "./format.js";

const HEIGHT = 240;
const COLORS = 6; // --curve-0 … --curve-5 in the style sheet
const charts = new WeakMap(); // chart by its container

// A canvas does not follow the style sheet: it is drawn again in the other colours.
document.addEventListener("schemechange", () => {
  for (const container of document.querySelectorAll(".chart")) charts.get(container)?.rebuild();
});

export class LineChart {
  constructor(title, { xName = "", log = false } = {}) {
    this.title = title;
    this.xName = xName;
    this.log = log;
    this.series = [];
    this.plot = null;
    // Hovering and zooming are for the eye; assistive technology reads the description.
    this.container = el("div", { class: "chart", role: "img", "aria-label": title });
    this.element = el("figure", { class: "plot" }, el("figcaption", {}, title), this.container);
    charts.set(this.container, this);
    // uPlot needs a width in pixels, which is 0 until the view is shown.
    new ResizeObserver(() => this.resize()).observe(this.container);
  }

  // Shows `series`: [{ name, xs, ys }], each with ascending xs. A zoom stays while data grows.
  update(series) {
    const sameNames =
      series.map(({ name }) => name).join() === this.series.map(({ name }) => name).join();
    this.series = series;
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
      scales: { x: { time: false }, y: { distr: this.log ? LOGARITHMIC : LINEAR } },
      axes: [{ ...axis, size: 30, values }, y],
      series: [
        { label: this.xName, value },
        ...this.series.map(({ name }, index) => ({
          label: name,
          value,
          stroke: color(`--curve-${index % COLORS}`),
          width: 1.5,
          points: { fill: color("--page") },
          spanGaps: true, // runs that log at different steps are still lines
        })),
      ],
    };
  }
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
