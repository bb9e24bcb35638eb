// From a path through a conversation and the settings to what is sent; and that as code to copy.

import { PARAMETERS } from "./parameters.js";

const RUNNERS_UP = 5;

// Returns { route, body }; throws where a setting cannot be used.
export function build(mode, path, settings, model) {
  const body = { model: model.id };
  if (mode === "chat") {
    const told = settings.system?.trim() ? [{ role: "system", content: settings.system }] : [];
    body.messages = [...told, ...path.map(({ role, text }) => ({ role, content: text }))];
  } else {
    body.prompt = path.map(({ text }) => text).join("");
  }
  for (const parameter of PARAMETERS) {
    if (!parameter.field) continue;
    const value = valueOf(parameter, settings[parameter.id]);
    if (value !== null && value !== parameter.rest) body[parameter.field] = value;
  }
  const schema = settings.schema?.trim();
  if (schema) body.response_format = { type: "json_schema", json_schema: { name: "answer", schema: parsed(schema) } };
  return { route: mode === "chat" ? "v1/chat/completions" : "v1/completions", body };
}

// The same, streamed, with the odds of each token and the count of all.
export function streamed({ route, body }) {
  const odds = route === "v1/completions" ? { logprobs: RUNNERS_UP } : { logprobs: true, top_logprobs: RUNNERS_UP };
  return { route, body: { ...body, ...odds, stream: true, stream_options: { include_usage: true } } };
}

function valueOf({ label, kind, min, max }, text) {
  if (kind === "text") return text ? text.replaceAll("\\n", "\n") : null;
  if (text === "" || text === undefined) return null;
  const number = Number(text);
  if (!Number.isFinite(number) || number < min || number > max) throw new Error(`${label}: give a number from ${min} to ${max}.`);
  return number;
}

function parsed(schema) {
  try {
    const value = JSON.parse(schema);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch {
    // said below
  }
  throw new Error("The JSON schema is not a JSON object.");
}

// ---- As code. A key is never copied: it is read from the environment.

export function asCurl({ route, body }) {
  const quoted = JSON.stringify(body, null, 1).replaceAll("'", "'\\''");
  return `curl ${location.origin}/${route} \\
  -H "Authorization: Bearer $INGOT_API_KEY" \\
  -H 'Content-Type: application/json' \\
  -d '${quoted}'`;
}

const OPENAI = ["model", "messages", "prompt", "temperature", "max_tokens", "top_p", "presence_penalty", "frequency_penalty", "seed", "stop", "response_format"];

export function asPython({ route, body }) {
  const chat = route === "v1/chat/completions";
  const known = Object.entries(body).filter(([name]) => OPENAI.includes(name));
  const extra = Object.fromEntries(Object.entries(body).filter(([name]) => !OPENAI.includes(name)));
  if (Object.keys(extra).length) known.push(["extra_body", extra]);
  const given = known.map(([name, value]) => `    ${name}=${python(value)},`).join("\n");
  return `import os

from openai import OpenAI

client = OpenAI(base_url="${location.origin}/v1", api_key=os.environ.get("INGOT_API_KEY", "none"))
answer = client.${chat ? "chat.completions" : "completions"}.create(
${given}
)
print(answer.choices[0].${chat ? "message.content" : "text"})
`;
}

// JSON is Python but for three words. Strings need care: Python's own escapes are JSON's, and more.
function python(value) {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value === "object") {
    return `{${Object.entries(value).map(([name, part]) => `${JSON.stringify(name)}: ${python(part)}`).join(", ")}}`;
  }
  return JSON.stringify(value);
}
