// The request of an answer, from a conversation and the settings; and the same as code to copy.

import { knownFacts } from "../shared/models.js";
import { PARAMETERS } from "./parameters.js";

const ALTERNATIVES = 5; // per token, with their probabilities

// Returns { route, body } for the answer to `messages`, which are nodes of a conversation. With
// `continues` the last message is an answer that is continued. Throws an Error that names a setting
// that cannot be used.
export function build(mode, messages, settings, model, continues = false) {
  const body = { model: model.id };
  if (mode === "chat") {
    const system = settings.system?.trim() ? [{ role: "system", content: settings.system }] : [];
    body.messages = [...system, ...messages.map(messageOf)];
    if (continues)
      Object.assign(body, { continue_final_message: true, add_generation_prompt: false });
  } else {
    body.prompt = messages.map(({ text }) => text).join("");
  }
  const recommended = knownFacts(model)?.generation ?? {};
  for (const parameter of PARAMETERS) {
    if (!parameter.field) continue;
    const value = parse(parameter, settings[parameter.id]);
    // The server fills in what the model recommends, so a plain 1 is said where it does.
    const isDefault = value === parameter.apiDefault && !(parameter.field in recommended);
    if (value !== null && !isDefault) body[parameter.field] = value;
  }
  const schema = settings.schema?.trim();
  if (schema) {
    const json_schema = { name: "answer", schema: parseSchema(schema) };
    body.response_format = { type: "json_schema", json_schema };
  }
  return { route: mode === "chat" ? "v1/chat/completions" : "v1/completions", body };
}

const messageOf = ({ role, text, fields }) => ({ role, content: text, ...fields });

// The same request, streamed, with the probabilities of each token, the usage and its cost.
export function streamed({ route, body }) {
  const logprobs =
    route === "v1/completions"
      ? { logprobs: ALTERNATIVES }
      : { logprobs: true, top_logprobs: ALTERNATIVES };
  const stream_options = { include_usage: true };
  const usage = { include: true }; // the cost, where the server has a price
  return { route, body: { ...body, ...logprobs, stream: true, stream_options, usage } };
}

function parse({ label, kind, min, max }, text) {
  if (kind === "text") return text ? text.replaceAll("\\n", "\n") : null;
  if (text === "" || text === undefined) return null;
  const number = Number(text);
  if (!Number.isFinite(number) || number < min || number > max) {
    throw new Error(`${label} must be a number from ${min} to ${max}.`);
  }
  return number;
}

function parseSchema(text) {
  let value = null;
  try {
    value = JSON.parse(text);
  } catch {
    // The message below covers text that is not JSON.
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw new Error("The JSON schema is not a JSON object.");
}

// ---- As code. The key is never copied: the code reads it from the environment.

export function asCurl({ route, body }) {
  const quoted = JSON.stringify(body, null, 1).replaceAll("'", "'\\''");
  return `curl ${location.origin}/${route} \\
  -H "Authorization: Bearer $INGOT_API_KEY" \\
  -H 'Content-Type: application/json' \\
  -d '${quoted}'`;
}

// Fields that the openai package takes by name; the others go into extra_body.
const OPENAI_FIELDS = [
  "model",
  "messages",
  "prompt",
  "temperature",
  "max_tokens",
  "top_p",
  "presence_penalty",
  "frequency_penalty",
  "seed",
  "stop",
  "response_format",
  "tools",
  "tool_choice",
  "parallel_tool_calls",
];

export function asPython({ route, body }) {
  const chat = route === "v1/chat/completions";
  const entries = Object.entries(body);
  const fields = entries.filter(([name]) => OPENAI_FIELDS.includes(name));
  const others = entries.filter(([name]) => !OPENAI_FIELDS.includes(name));
  if (others.length) fields.push(["extra_body", Object.fromEntries(others)]);
  const lines = fields.map(([name, value]) => `    ${name}=${python(value)},`).join("\n");
  return `import os

from openai import OpenAI

client = OpenAI(base_url="${location.origin}/v1", api_key=os.environ.get("INGOT_API_KEY", "none"))
answer = client.${chat ? "chat.completions" : "completions"}.create(
${lines}
)
print(answer.choices[0].${chat ? "message.content" : "text"})
`;
}

// A JSON value as a Python literal. JSON's strings and numbers are Python's; three words differ.
function python(value) {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value === "object") {
    const items = Object.entries(value).map(
      ([name, item]) => `${JSON.stringify(name)}: ${python(item)}`,
    );
    return `{${items.join(", ")}}`;
  }
  return JSON.stringify(value);
}
