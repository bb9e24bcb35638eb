// Numbers, sizes and times as people read them.

export function seconds(value) {
  if (!Number.isFinite(value)) return "–";
  if (value < 0.001) return `${Math.round(value * 1e6)} µs`;
  if (value < 1) return `${short(value * 1000)} ms`;
  if (value < 120) return `${short(value)} s`;
  return value < 7200 ? `${short(value / 60)} min` : `${short(value / 3600)} h`;
}

export const bytes = (value) => `${scaled(value)}B`;

// 2285568 is "2.29 M": three digits, then the letter for its thousands.
export function scaled(value) {
  for (const letter of ["", "k", "M", "G", "T"]) {
    if (Math.abs(value) < 999.5) return `${short(value)} ${letter}`;
    value /= 1000;
  }
  return `${short(value)} P`;
}

export const whole = (value) => Math.round(value).toLocaleString("en");

export const share = (value) => `${(100 * value).toFixed(value < 0.1 ? 1 : 0)}%`;

export function short(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(2);
  return String(Number(value.toPrecision(size >= 1000 ? 4 : 3)));
}

export const digest = (text) => String(text).slice(0, 12);

// White space made visible, so that a token can be told apart.
export const token = (text) => (text === "" ? "∅" : text.replaceAll("\n", "⏎").replaceAll("\t", "⇥").replaceAll(" ", "␣"));
