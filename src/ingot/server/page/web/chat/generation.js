// The generation of one answer: the request, the stream into its view, the measurements.

import { events, explain } from "../shared/api.js";
import { streamed } from "./request.js";
import { TokenClock } from "./token_clock.js";
import { tokensOf } from "./token_stream.js";

const REFRESH_MS = 250; // of the figures while an answer arrives
const FINISH_REASONS = {
  length: "Stopped at the maximum length.",
  stop: "The model ended its text.",
  tool_calls: "The model called a tool.",
};

// Sends a request and writes the answer into `node` and `view`; `onEvent` sees each event. Returns
// { message, digest, reason }, or { error } as a sentence.
export async function generate(request, node, view, model, signal, onEvent = () => {}) {
  const { route, body } = streamed(request);
  const clock = new TokenClock();
  const measured = {}; // what the last event says
  const identity = { model: model.id, digest: model.digest };
  let reason = "";
  const showFigures = () => {
    const { first, speed, tokens } = clock;
    node.figures = { first, speed, tokens, ...measured };
    view.showFigures(node.figures, identity);
  };
  view.busy = true;
  const timer = setInterval(() => clock.tokens && showFigures(), REFRESH_MS);
  try {
    for await (const event of events(route, body, signal)) {
      identity.digest = event.system_fingerprint ?? identity.digest;
      if (event.usage) Object.assign(measured, figuresOf(event));
      for (const choice of event.choices) {
        const text = choice.text ?? choice.delta?.content ?? "";
        const tokens = tokensOf(choice);
        if (text || tokens.length) clock.add(tokens.length || 1);
        node.text += text;
        view.add(text, tokens);
        reason = choice.finish_reason ?? reason;
      }
      onEvent(event);
    }
    return { message: FINISH_REASONS[reason] ?? "", reason, digest: identity.digest };
  } catch (error) {
    return signal.aborted ? { message: "Stopped." } : { error: explain(error) };
  } finally {
    clearInterval(timer);
    view.busy = false;
    if (clock.tokens || measured.tokens) showFigures();
  }
}

function figuresOf({ usage, timing }) {
  const { completion_tokens: tokens, prompt_tokens: prompt } = usage;
  const found = { tokens, prompt };
  const cached = usage.prompt_tokens_details?.cached_tokens;
  if (Number.isFinite(cached)) found.cached = cached;
  const { accepted_prediction_tokens: accepted, rejected_prediction_tokens: rejected } =
    usage.completion_tokens_details ?? {};
  if (accepted + rejected > 0) Object.assign(found, { accepted, rejected });
  // By the server's clock, which the network does not slow down.
  if (timing?.decode_s > 0) found.speed = (tokens - 1) / timing.decode_s;
  const { cost, cost_details: details } = usage;
  if (Number.isFinite(cost)) Object.assign(found, { cost, currency: details.currency });
  if (Number.isFinite(details?.energy_joules)) found.joules = details.energy_joules;
  return found;
}
