// Markdown to blocks, by marked; mathematics is kept as it was written.

import { Marked } from "../../vendor/marked/marked.min.js";

// Without these, Markdown would take the backslashes and underscores out of a formula.
const MATH =
  /^(?:\\\([\s\S]+?\\\)|\\\[[\s\S]+?\\\]|\$\$[\s\S]+?\$\$|\$(?![\s\d])[^\n$]*[^\s$\\]\$(?!\d))/;

const math = {
  name: "math",
  level: "inline",
  start: (source) => source.search(/\\[([]|\$/),
  tokenizer(source) {
    const found = MATH.exec(source);
    return found ? { type: "math", raw: found[0], text: found[0] } : undefined;
  },
};

const marked = new Marked({ gfm: true, extensions: [] });
marked.use({ extensions: [math] });

// Returns the blocks of a text. Each holds the text that it was made of (`raw`); joined, these are
// the whole text, whose line ends must be "\n".
export const blocksOf = (text) => marked.lexer(text);

const NAMED = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
  nbsp: "\u00a0",
  copy: "©",
  reg: "®",
  hellip: "…",
  mdash: "—",
  ndash: "–",
  times: "×",
  rarr: "→",
  larr: "←",
  le: "≤",
  ge: "≥",
  ne: "≠",
};

// Returns text with its character references replaced: the lexer leaves them to a browser's
// parser of HTML, through which nothing goes here.
export function decoded(text) {
  if (!text.includes("&")) return text;
  return text.replace(
    /&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]+));/gi,
    (whole, decimal, hex, name) => {
      if (name) return NAMED[name] ?? whole;
      const code = decimal ? Number(decimal) : Number.parseInt(hex, 16);
      const valid = code > 0 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
      return valid ? String.fromCodePoint(code) : "\ufffd";
    },
  );
}
