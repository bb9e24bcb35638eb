// The generation of one answer: the request, the stream into its view, the measurements.

import { events, explain } from "../shared/api.js";
import { TokenClock } from "./answer_view.js";
import { streamed } from "./request.js";
import { tokensOf } from "./token_stream.js";

const REFRESH_MS = 250; // of the figures while an answer arrives
const FINISH_REASONS = {
  length: "Stopped at the maximum length.",
  stop: "The model ended its text.",
  tool_calls: "The model called a tool.",
};

// Sends a request and writes the answer into `node` and `view`. Returns { message, digest }, or
// { error } as a sentence.
export async function generate(request, node, view, model, signal) {
  const { route, body } = streamed(request);
  const clock = new TokenClock();
  const figures = { model: model.id, digest: model.digest, cached: null, speculation: null };
  let serverSpeed = null; // tokens/s by the server's clock; it comes with the last event
  let usageKnown = false;
  let message = "";
  const showFigures = () => {
    const { first, tokens } = clock;
    view.showFigures({ ...figures, first, speed: serverSpeed ?? clock.speed, tokens });
  };
  view.busy = true;
  const timer = setInterval(() => clock.tokens && showFigures(), REFRESH_MS);
  try {
    for await (const event of events(route, body, signal)) {
      figures.digest = event.system_fingerprint;
      if (event.usage) {
        const { completion_tokens, prompt_tokens_details, completion_tokens_details } = event.usage;
        clock.tokens = completion_tokens;
        figures.cached = prompt_tokens_details?.cached_tokens ?? null;
        figures.speculation = completion_tokens_details ?? null;
        const seconds = event.timing?.decode_s;
        if (seconds > 0) serverSpeed = (clock.tokens - 1) / seconds;
        usageKnown = true;
      }
      for (const choice of event.choices) {
        const text = choice.text ?? choice.delta?.content ?? "";
        const tokens = tokensOf(choice);
        if (text || tokens.length) clock.add(tokens.length || 1);
        node.text += text;
        view.add(text, tokens);
        if (choice.finish_reason) message = FINISH_REASONS[choice.finish_reason] ?? "";
      }
    }
    return { message, digest: figures.digest };
  } catch (error) {
    return signal.aborted ? { message: "Stopped." } : { error: explain(error) };
  } finally {
    clearInterval(timer);
    view.flush();
    view.busy = false;
    if (usageKnown || clock.tokens) showFigures();
  }
}
