// Prometheus' text format, as far as the page needs it: samples with their labels.

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

  // Over all labels, or null where there is no such sample.
  sum(name) {
    const samples = this.all(name);
    return samples.length ? samples.reduce((total, { value }) => total + value, 0) : null;
  }

  // A histogram's own counts: [[upper bound, how many fell between it and the one before], …].
  buckets(name) {
    const upTo = new Map();
    for (const { labels, value } of this.all(`${name}_bucket`)) {
      const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
      upTo.set(bound, (upTo.get(bound) ?? 0) + value);
    }
    const sorted = [...upTo].sort(([a], [b]) => a - b);
    return sorted.map(([bound, count], place) => [bound, count - (place ? sorted[place - 1][1] : 0)]);
  }
}
