// Client of the server's HTTP API: JSON, server-sent events, the API key, error messages.

const KEY = "ingot.key";
let key = sessionStorage.getItem(KEY) ?? ""; // per tab, so that closing the tab forgets it
let keyNeeded = () => {};

export class ServerError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// Calls `callback` whenever the server refuses a request for want of a key.
export function onKeyNeeded(callback) {
  keyNeeded = callback;
}

export function setKey(text) {
  key = text.trim();
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

// Returns an error as a sentence for the reader.
export function explain(error) {
  if (error instanceof ServerError) return error.message;
  // fetch throws a TypeError for every network failure.
  if (error instanceof TypeError) return "The server does not answer. Is it still running?";
  return error.message;
}

// Sends a request, with `body` as JSON if there is one. Throws a ServerError unless it succeeds.
export async function call(path, { body, signal } = {}) {
  const headers = {};
  if (body !== undefined) headers["content-type"] = "application/json";
  const used = key;
  if (used) headers.authorization = `Bearer ${used}`;
  const response = await fetch(path, {
    method: body === undefined ? "GET" : "POST",
    headers,
    signal,
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (response.ok) return response;
  if (response.status === 401 && used === key) keyNeeded(); // else another one was given meanwhile
  const answer = await response.json().catch(() => null);
  const message = answer?.error?.message ?? `The server answered with status ${response.status}.`;
  throw new ServerError(response.status, message);
}

export async function json(path, options) {
  return (await call(path, options)).json();
}

export async function text(path, options) {
  return (await call(path, options)).text();
}

// Yields the parsed data of each server-sent event until `[DONE]`.
export async function* events(path, body, signal) {
  const response = await call(path, { body, signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("The connection closed before the answer was complete.");
    const parts = (pending + value).split("\n\n");
    pending = parts.pop(); // an event that is still incomplete
    for (const part of parts) {
      const data = part.replace(/^data: /, "");
      if (data === "[DONE]") return;
      const event = JSON.parse(data);
      if (event.error) throw new ServerError(500, event.error.message);
      yield event;
    }
  }
}
