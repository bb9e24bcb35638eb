// One answer: sent, streamed into its view, measured.

import { events, explain } from "../api.js";
import { AnswerView, Clock } from "./answer.js";
import { streamed } from "./request.js";
import { read } from "./tokens.js";

const ENDINGS = {
  length: "Ended at the longest answer you allowed.",
  stop: "The model ended its text.",
  tool_calls: "The model called a tool.",
};

// Runs a request; writes the text into `node` and `view`. Returns { ending } or { fault }, in words.
export async function answer(request, node, view, model, signal) {
  const { route, body } = streamed(request);
  const clock = new Clock();
  const figures = { model: model.id, digest: model.digest, cached: null, guesses: null };
  let decoding = null; // tokens/s by the server's own clock, once it says so
  const show = () => view.showFigures({ ...figures, first: clock.first, speed: decoding ?? clock.speed, tokens: clock.tokens });
  let ending = "";
  let counted = false; // whether the server said how many tokens there were
  view.busy = true;
  const timer = setInterval(() => clock.tokens && show(), 250);
  try {
    for await (const event of events(route, body, signal)) {
      figures.digest = event.system_fingerprint;
      if (event.usage) {
        clock.tokens = event.usage.completion_tokens;
        figures.cached = event.usage.prompt_tokens_details?.cached_tokens ?? null;
        figures.guesses = event.usage.completion_tokens_details ?? null;
        const spent = event.timing?.decode_s;
        if (spent > 0) decoding = (clock.tokens - 1) / spent;
        counted = true;
      }
      for (const choice of event.choices) {
        const text = choice.text ?? choice.delta?.content ?? "";
        const tokens = read(choice);
        if (text || tokens.length) clock.tick(tokens.length || 1);
        node.text += text;
        view.add(text, tokens);
        if (choice.finish_reason) ending = ENDINGS[choice.finish_reason] ?? "";
      }
    }
    return { ending, digest: figures.digest };
  } catch (error) {
    return signal.aborted ? { ending: "Stopped." } : { fault: explain(error) };
  } finally {
    clearInterval(timer);
    view.flush();
    view.busy = false;
    if (counted || clock.tokens) show();
  }
}

export { AnswerView };
