// A line plot as SVG, quick however many points there are: each pixel column shows the lowest and
// the highest value that fall on it.

import { el, svg } from "./dom.js";
import { explorer } from "./explore.js";
import { short } from "./format.js";

const WIDTH = 640;
const HEIGHT = 220;
const LEFT = 56;
const BOTTOM = 26;
const TOP = 10;

// series: [{ name, xs, ys }], both arrays of numbers. Returns a figure element.
export function plot(title, series, { xName = "", log = false } = {}) {
  const usable = series.map(({ name, xs, ys }) => ({ name, xs, ys: log ? ys.map((y) => (y > 0 ? Math.log10(y) : NaN)) : ys }));
  const [x0, x1] = range(usable.map(({ xs }) => xs));
  const [y0, y1] = padded(range(usable.map(({ ys }) => ys)));
  const across = (x) => LEFT + ((x - x0) / (x1 - x0 || 1)) * (WIDTH - LEFT - 8);
  const up = (y) => HEIGHT - BOTTOM - ((y - y0) / (y1 - y0)) * (HEIGHT - BOTTOM - TOP);
  const ticks = [0, 0.5, 1].map((part) => y0 + part * (y1 - y0));
  const drawing = svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": described(title, series) },
    ticks.map((y) => svg("line", { class: "grid", x1: LEFT, x2: WIDTH - 8, y1: up(y), y2: up(y) })),
    ticks.map((y) => svg("text", { x: LEFT - 8, y: up(y) + 4, "text-anchor": "end" }, short(log ? 10 ** y : y))),
    svg("text", { x: LEFT, y: HEIGHT - 6 }, short(x0)),
    svg("text", { x: WIDTH - 8, y: HEIGHT - 6, "text-anchor": "end" }, `${short(x1)} ${xName}`),
    usable.map(({ xs, ys }, place) => svg("polyline", { class: `line line-${place % 6}`, points: thinned(xs, ys, across, up) })),
  );
  const names = series.length < 2 ? null : el("ul", { class: "names" }, series.map(({ name }, place) => el("li", { class: `line-${place % 6}` }, name)));
  return el("figure", { class: "plot" }, el("figcaption", {}, title), drawing, names, explorer(title, series, { xName, log }));
}

function range(lists) {
  let low = Infinity;
  let high = -Infinity;
  for (const list of lists) {
    for (const value of list) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return low <= high ? [low, high] : [0, 1];
}

function padded([low, high]) {
  const spare = (high - low) * 0.05 || Math.abs(high) * 0.05 || 1;
  return [low >= 0 ? Math.max(0, low - spare) : low - spare, high + spare]; // no room below nothing
}

function thinned(xs, ys, across, up) {
  const points = [];
  let column = null;
  let low = 0;
  let high = 0;
  const flush = () => {
    if (column === null) return;
    points.push(`${column},${up(low).toFixed(1)}`);
    if (high !== low) points.push(`${column},${up(high).toFixed(1)}`);
  };
  for (let place = 0; place < xs.length; place += 1) {
    const y = ys[place];
    if (!Number.isFinite(y)) continue;
    const x = Math.round(across(xs[place]));
    if (x === column) {
      if (y < low) low = y;
      if (y > high) high = y;
    } else {
      flush();
      [column, low, high] = [x, y, y];
    }
  }
  flush();
  return points.join(" ");
}

function described(title, series) {
  const parts = series.map(({ name, ys }) => (ys.length ? `${name}: from ${short(ys[0])} to ${short(ys.at(-1))}` : `${name}: nothing yet`));
  return `${title}. ${parts.join("; ")}`;
}
