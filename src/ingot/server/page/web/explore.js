// A plot to zoom into and hover over, by plotly, where the server has it. Plotly gets a frame
// without an origin, and nothing but what is to be drawn.

import { button, el } from "./dom.js";

const MOST_POINTS = 4000; // of a series: more than a screen shows

// Returns a button that opens the plot, or null where plotly is not installed.
export function explorer(title, series, { xName = "", log = false } = {}) {
  if (!("plotly" in document.body.dataset) || !series.some(({ xs }) => xs.length > 1)) return null;
  return button("Zoom in", () => explore(title, series, { xName, log }), { class: "quiet", "aria-label": `Zoom into ${title}` });
}

function explore(title, series, axes) {
  const frame = el("iframe", { src: "page/plot_frame.html", sandbox: "allow-scripts allow-downloads", title });
  const dialog = el("dialog", { class: "explore", "aria-label": title }, button("Close", () => dialog.close()), frame);
  const send = (event) => {
    if (event.source !== frame.contentWindow || event.data !== "ready") return;
    // It has no origin to name; it is the frame that we made.
    frame.contentWindow.postMessage({ title, series: series.map(fewer), ...axes, colours: colours() }, "*");
  };
  window.addEventListener("message", send);
  dialog.addEventListener("close", () => {
    window.removeEventListener("message", send);
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();
}

// Keeps the lowest and the highest point of each stretch.
function fewer({ name, xs, ys }) {
  const stretch = Math.ceil((2 * xs.length) / MOST_POINTS);
  if (stretch < 2) return { name, xs: Array.from(xs), ys: Array.from(ys) };
  const kept = [];
  for (let start = 0; start < xs.length; start += stretch) {
    let [low, high] = [start, start];
    for (let place = start; place < Math.min(start + stretch, xs.length); place += 1) {
      if (ys[place] < ys[low]) low = place;
      if (ys[place] > ys[high]) high = place;
    }
    kept.push(Math.min(low, high));
    if (low !== high) kept.push(Math.max(low, high));
  }
  return { name, xs: kept.map((place) => xs[place]), ys: kept.map((place) => ys[place]) };
}

function colours() {
  const style = getComputedStyle(document.body);
  return { text: style.color, ground: style.backgroundColor, lines: [...Array(6).keys()].map((place) => style.getPropertyValue(`--curve-${place}`).trim()) };
}
