// Files that become text: which kinds, how large, and how they stand in a message.

const KINDS = new Map([
  ["txt", ""],
  ["md", "markdown"],
  ["py", "python"],
  ["json", "json"],
  ["csv", "csv"],
]);
const MAX_BYTES = 256_000; // of one file; a request may have a megabyte
const MAX_TOTAL = 640_000;
const MAX_FILES = 10;

export const ACCEPTED = [...KINDS.keys()].map((kind) => `.${kind}`).join(",");

const kindOf = (name) => name.toLowerCase().match(/\.([a-z0-9]+)$/)?.[1] ?? "";
const kB = (bytes) => `${Math.ceil(bytes / 1000)} kB`;

// Returns the text of a file beside those that are `there` ({ name, text, bytes }). Throws an Error
// that names the file and says what is wrong with it.
export async function readText(file, there) {
  const name = file.name.slice(0, 200);
  const refuse = (problem) => {
    throw new Error(`${name}: ${problem}`);
  };
  if (!KINDS.has(kindOf(name))) refuse(`only ${ACCEPTED.replaceAll(",", " ")} files become text.`);
  if (file.size > MAX_BYTES)
    refuse(`${kB(file.size)} are more than the ${kB(MAX_BYTES)} of a file.`);
  if (there.length >= MAX_FILES) refuse(`there are ${MAX_FILES} files already.`);
  const total = there.reduce((sum, { bytes }) => sum + bytes, file.size);
  if (total > MAX_TOTAL) refuse(`all files together would have more than ${kB(MAX_TOTAL)}.`);
  let text = "";
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
  } catch {
    refuse("it is not text in UTF-8, or cannot be read.");
  }
  if (text.includes("\0")) refuse("it is not text: it has NUL bytes.");
  if (!text.trim()) refuse("it is empty.");
  return { name, text, bytes: file.size };
}

// Returns a message with its files: the text first, then each file, named and fenced. The fence is
// longer than any in the file, so that no file can end it.
export function message(text, files) {
  const blocks = files.map(({ name, text: content }) => {
    const longest = Math.max(2, ...(content.match(/`+/g) ?? []).map((run) => run.length));
    const fence = "`".repeat(longest + 1);
    const end = content.endsWith("\n") ? "" : "\n";
    return `${name}:\n${fence}${KINDS.get(kindOf(name)) ?? ""}\n${content}${end}${fence}`;
  });
  return [text, ...blocks].filter(Boolean).join("\n\n");
}

// Returns a text to continue that begins with its files, as they are.
export const prefix = (text, files) =>
  files.map(({ text: content }) => content.replace(/\n?$/, "\n")).join("\n") + text;
