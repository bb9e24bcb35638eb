// Draws what the page around this frame sends. No module: a frame without an origin may load none.

"use strict";

// Plotly takes a few tags in names for markup; here every name is text.
const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");

window.addEventListener("message", ({ source, data }) => {
  if (source !== window.parent) return;
  const { title, series, xName, log, colours } = data;
  const lines = series.map(({ name, xs, ys }) => ({ type: "scatter", mode: "lines", name: plain(name), x: xs, y: ys }));
  const axis = { gridcolor: "rgba(128, 128, 128, .25)", zeroline: false };
  const layout = {
    title: { text: plain(title) },
    xaxis: { ...axis, title: { text: plain(xName) } },
    yaxis: { ...axis, type: log ? "log" : "linear" },
    font: { color: colours.text },
    paper_bgcolor: colours.ground,
    plot_bgcolor: colours.ground,
    hovermode: "x unified",
    hoverlabel: { bgcolor: colours.ground },
    showlegend: lines.length > 1,
    margin: { t: 56, r: 24, b: 56, l: 72 },
    colorway: colours.lines,
  };
  Plotly.newPlot("plot", lines, layout, { responsive: true, displaylogo: false });
});

window.parent.postMessage("ready", "*");
