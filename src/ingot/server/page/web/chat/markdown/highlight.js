// Colours for code, by highlight.js. It and each language are loaded when they are first needed.

import { el } from "../../shared/elements.js";

const MAX_CHARACTERS = 12_000; // coloured in one task, which must stay short

// The file of a language by the names that people write.
const FILES = {
  ...Object.fromEntries(
    [
      ...["bash", "c", "cpp", "csharp", "css", "diff", "dockerfile", "go", "ini", "java"],
      ...["javascript", "json", "kotlin", "lua", "makefile", "markdown", "php", "python", "r"],
      ...["ruby", "rust", "sql", "swift", "typescript", "xml", "yaml"],
    ].map((name) => [name, name]),
  ),
  "c++": "cpp",
  "c#": "csharp",
  cs: "csharp",
  console: "bash",
  h: "c",
  hpp: "cpp",
  html: "xml",
  js: "javascript",
  jsonc: "json",
  jsx: "javascript",
  kt: "kotlin",
  md: "markdown",
  patch: "diff",
  py: "python",
  rb: "ruby",
  rs: "rust",
  sh: "bash",
  shell: "bash",
  svg: "xml",
  toml: "ini",
  ts: "typescript",
  tsx: "typescript",
  yml: "yaml",
  zsh: "bash",
};

const languages = new Map(); // promise of the library that knows a language, by its file

// Returns a fragment with the coloured code, or null where it cannot be coloured.
export async function coloured(text, name) {
  const file = Object.hasOwn(FILES, name) ? FILES[name] : null;
  if (!file || text.length > MAX_CHARACTERS) return null;
  try {
    if (!languages.has(file)) languages.set(file, load(file));
    const library = await languages.get(file);
    await idle();
    // The tree that the library's HTML is written from: nothing here becomes HTML.
    const tree = library.highlight(text, { language: file, ignoreIllegals: true })._emitter
      .rootNode;
    const fragment = document.createDocumentFragment();
    fragment.append(...tree.children.map(elementOf));
    return fragment;
  } catch {
    languages.delete(file);
    return null; // the server does not answer: the code stays as it is
  }
}

async function load(file) {
  const [{ default: library }, { default: language }] = await Promise.all([
    import("../../vendor/highlight/core.min.js"),
    import(`../../vendor/highlight/languages/${file}.min.js`),
  ]);
  library.registerLanguage(file, language);
  return library;
}

const idle = () =>
  new Promise((resolve) => {
    if (window.requestIdleCallback) requestIdleCallback(resolve, { timeout: 500 });
    else setTimeout(resolve);
  });

function elementOf(part) {
  if (typeof part === "string") return part;
  const kind = (part.scope ?? "").split(".")[0].replaceAll(/[^a-z_-]/g, "");
  return el("span", { class: kind ? `hl-${kind}` : null }, part.children.map(elementOf));
}
