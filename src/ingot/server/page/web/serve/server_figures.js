// The figures of a server, from two readings of its metrics.

import { figure } from "../shared/elements.js";
import * as format from "../shared/format.js";

// Returns the elements of all figures that are known.
// now, before: { time, samples }; `before` is null at the first reading.
export function serverFigures(now, before) {
  const samples = now.samples;
  const rate = (name) => {
    const first = before?.samples.sum(name) ?? null;
    const last = samples.sum(name);
    if (first === null || last === null) return null;
    return Math.max(0, last - first) / (now.time - before.time);
  };
  const share = (part, whole) =>
    samples.sum(whole) ? samples.sum(part) / samples.sum(whole) : null;
  const steps = rate("ingot:engine_steps_total");
  const written = rate("vllm:generation_tokens_total");
  const computed = (rate("ingot:prefill_tokens_total") ?? 0) + (written ?? 0);
  const all = [
    ["Running", samples.sum("vllm:num_requests_running"), format.whole],
    ["Waiting", samples.sum("vllm:num_requests_waiting"), format.whole],
    ["Tokens/s", written, format.whole],
    ["Tokens in a step", steps ? computed / steps : null, format.short],
    ["KV cache in use", samples.sum("vllm:kv_cache_usage_perc"), format.percent],
    [
      "Prompt tokens cached",
      share("vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total"),
      format.percent,
    ],
    [
      "Draft tokens accepted",
      share(
        "vllm:spec_decode_num_accepted_tokens_total",
        "vllm:spec_decode_num_draft_tokens_total",
      ),
      format.percent,
    ],
    ["Tokens written", samples.sum("vllm:generation_tokens_total"), format.whole],
    ["Preempted", samples.sum("vllm:num_preemptions_total"), format.whole],
    ["Refused", refused(samples), format.whole],
    ...costs(samples),
  ];
  const known = all.filter(([, value]) => value !== null && value !== undefined);
  return known.map(([name, value, write]) => figure(name, write(value)));
}

const refused = (samples) =>
  samples
    .all("ingot:http_responses_total")
    .filter(({ labels }) => labels.status === "429")
    .reduce((total, { value }) => total + value, 0);

// Money for a million tokens written, with idle time left out and shared by all; where a price is
// given. Of several models, the first.
function costs(samples) {
  const entries = samples
    .all("ingot:cost_per_million_tokens")
    .filter(({ labels }) => labels.kind === "answer");
  const cost = (idle) => entries.find(({ labels }) => labels.idle === idle)?.value;
  return [
    ["A million tokens written cost", cost("excluded"), format.short],
    ["With idle time", cost("included"), format.short],
  ];
}
