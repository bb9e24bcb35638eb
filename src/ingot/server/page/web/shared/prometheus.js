// Parser of Prometheus' text format, as far as the page needs it: samples with their labels.
// Source: https://prometheus.io/docs/instrumenting/exposition_formats/

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;

export class Samples {
  constructor(text) {
    this.byName = new Map();
    for (const line of text.split("\n")) {
      const match = line.startsWith("#") ? null : LINE.exec(line);
      if (!match) continue;
      const [, name, labelText, value] = match;
      const labels = {};
      for (const [, key, label] of (labelText ?? "").matchAll(LABEL)) labels[key] = label;
      if (!this.byName.has(name)) this.byName.set(name, []);
      this.byName.get(name).push({ labels, value: Number(value) });
    }
  }

  all(name) {
    return this.byName.get(name) ?? [];
  }

  // The sum over all labels, or null if there is no such sample.
  sum(name) {
    const samples = this.all(name);
    return samples.length ? samples.reduce((total, { value }) => total + value, 0) : null;
  }

  // A histogram's buckets as [[upper bound, count in this bucket], …]. Prometheus' own counts
  // are cumulative.
  buckets(name) {
    const upTo = new Map();
    for (const { labels, value } of this.all(`${name}_bucket`)) {
      const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
      upTo.set(bound, (upTo.get(bound) ?? 0) + value);
    }
    const sorted = [...upTo].sort(([a], [b]) => a - b);
    return sorted.map(([bound, count], index) => [
      bound,
      count - (index ? sorted[index - 1][1] : 0),
    ]);
  }
}
