// A histogram of times on a logarithmic axis whose marks are powers of ten.

import { el } from "../shared/elements.js";
import * as format from "../shared/format.js";

const DECADE_MARKS = [0.001, 0.01, 0.1, 1, 10, 100, 1000];

// buckets: [[upper bound in seconds, count], …] as Samples.buckets returns them.
export function histogram(title, buckets) {
  const total = buckets.reduce((sum, [, count]) => sum + count, 0);
  const caption = el("figcaption", {}, title);
  if (!total)
    return el("figure", { class: "plot" }, caption, el("p", { class: "help" }, "No requests yet."));
  const [start, end] = decades(buckets);
  const at = (seconds) => (100 * Math.log10(seconds / start)) / Math.log10(end / start);
  const top = roundUp(Math.max(...buckets.map(([, count]) => count)));
  const bars = buckets.map(([bound, count], index) => {
    if (!count) return null;
    const from = Math.max(index ? buckets[index - 1][0] : start, start);
    const bar = el("span", { class: "column" });
    bar.style.left = `${at(from)}%`;
    bar.style.width = `${at(Math.min(bound, end)) - at(from)}%`;
    bar.style.height = `${(100 * count) / top}%`;
    return bar;
  });
  const marks = DECADE_MARKS.filter((mark) => mark >= start && mark <= end * 1.001);
  const half = [top, top / 2, 0];
  const summary = `${title}: ${format.whole(total)} requests, half within ${within(buckets, total, 0.5)}, 95 of 100 within ${within(buckets, total, 0.95)}.`;
  return el(
    "figure",
    { class: "plot" },
    caption,
    el(
      "div",
      { class: "histogram", role: "img", "aria-label": summary },
      half.map((value) => placed("count", format.short(value), "bottom", (100 * value) / top)),
      el("div", { class: "area" }, bars),
      el(
        "div",
        { class: "times" },
        marks.map((mark) => placed("time", format.seconds(mark), "left", at(mark))),
      ),
    ),
    el(
      "p",
      { class: "help" },
      `Half within ${within(buckets, total, 0.5)}, 95 of 100 within ${within(buckets, total, 0.95)}.`,
    ),
  );
}

function placed(kind, text, side, percent) {
  const label = el("span", { class: kind }, text);
  label.style[side] = `${percent}%`;
  return label;
}

// The powers of ten around all times that occur.
function decades(buckets) {
  const used = buckets.map(([, count], index) => (count ? index : -1)).filter((at) => at >= 0);
  const first = used[0] ? buckets[used[0] - 1][0] : buckets[0][0] / 2;
  const last = buckets[used.at(-1)][0];
  const finite = Number.isFinite(last) ? last : buckets.at(-2)[0] * 2;
  const start = 10 ** Math.floor(Math.log10(first) + 1e-9);
  const end = 10 ** Math.ceil(Math.log10(finite) - 1e-9);
  return [start, Math.max(end, start * 10)];
}

// The next even one of 2, 4, 10, 20, 40, 100 …: its half is a whole number too.
function roundUp(count) {
  let top = 2;
  for (const factors = [2, 2.5, 2]; top < count; ) {
    top *= factors[0];
    factors.push(factors.shift());
  }
  return top;
}

// The bound of the bucket below which a share of all requests lies.
function within(buckets, total, share) {
  let sum = 0;
  for (const [bound, count] of buckets) {
    sum += count;
    if (sum >= share * total)
      return Number.isFinite(bound)
        ? format.seconds(bound)
        : `more than ${format.seconds(buckets.at(-2)[0])}`;
  }
  return "–";
}
