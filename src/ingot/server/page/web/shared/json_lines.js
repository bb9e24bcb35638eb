// Reader of answers that arrive as one JSON value per line.

import { call } from "./api.js";

export async function* jsonLines(path, body, signal) {
  const response = await call(path, { body, signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (pending + value).split("\n");
    pending = lines.pop();
    for (const line of lines) if (line) yield JSON.parse(line);
  }
}
