// Talking to the server: JSON, server-sent events, an API key, errors in plain words.

const KEY = "ingot.key"; // for this tab alone
let key = sessionStorage.getItem(KEY) ?? "";
let askForKey = () => {};

export class ServerError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function onKeyNeeded(act) {
  askForKey = act;
}

export function setKey(text) {
  key = text.trim();
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

export function explain(error) {
  if (error instanceof ServerError) return error.message;
  if (error instanceof TypeError) return "The server does not answer. Is it still running?";
  return error.message;
}

// Sends a request; a body is sent as JSON. Whatever is not a success is thrown.
export async function call(path, { body, signal } = {}) {
  const headers = {};
  if (body !== undefined) headers["content-type"] = "application/json";
  if (key) headers.authorization = `Bearer ${key}`;
  const response = await fetch(path, {
    method: body === undefined ? "GET" : "POST",
    headers,
    signal,
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (response.ok) return response;
  if (response.status === 401) askForKey();
  const answer = await response.json().catch(() => null);
  const said = answer?.error?.message;
  throw new ServerError(response.status, said ?? `The server answered with status ${response.status}.`);
}

export async function json(path, options) {
  return (await call(path, options)).json();
}

export async function text(path, options) {
  return (await call(path, options)).text();
}

// Yields the parsed data of each server-sent event until the answer is complete.
export async function* events(path, body, signal) {
  const response = await call(path, { body, signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("The server broke off before the answer was complete.");
    const parts = (pending + value).split("\n\n");
    pending = parts.pop();
    for (const part of parts) {
      const data = part.replace(/^data: /, "");
      if (data === "[DONE]") return;
      const event = JSON.parse(data);
      if (event.error) throw new ServerError(500, event.error.message);
      yield event;
    }
  }
}
