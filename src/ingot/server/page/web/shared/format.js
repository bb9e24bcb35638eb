// Numbers, sizes and times in human-readable form.

export function seconds(value) {
  if (!Number.isFinite(value)) return "–";
  if (value < 0.001) return `${Math.round(value * 1e6)} µs`;
  if (value < 1) return `${short(value * 1000)} ms`;
  if (value < 120) return `${short(value)} s`;
  return value < 7200 ? `${short(value / 60)} min` : `${short(value / 3600)} h`;
}

export const bytes = (value) => `${scaled(value)}B`;

// Three digits and an SI prefix: 2285568 becomes "2.29 M".
export function scaled(value) {
  for (const prefix of ["", "k", "M", "G", "T"]) {
    if (Math.abs(value) < 999.5) return `${short(value)} ${prefix}`;
    value /= 1000;
  }
  return `${short(value)} P`;
}

export const whole = (value) => Math.round(value).toLocaleString("en");

export const percent = (value) => `${(100 * value).toFixed(value < 0.1 ? 1 : 0)}%`;

// Three significant digits, four from 1,000 on.
export function short(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(2);
  return String(Number(value.toPrecision(size >= 1000 ? 4 : 3)));
}

export const digest = (text) => String(text).slice(0, 12);

// A token's text with its white space visible.
export const token = (text) =>
  text === "" ? "∅" : text.replaceAll("\n", "⏎").replaceAll("\t", "⇥").replaceAll(" ", "␣");
