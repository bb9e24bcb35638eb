// What a model's card says besides its digest: sizes, training, origin.

import { el } from "../../shared/elements.js";
import * as format from "../../shared/format.js";

// Returns the rows [name, value] of a model's card, of what is known.
export function rowsOf(model, facts) {
  const { config, provenance } = facts;
  const { origin } = provenance;
  const served = format.whole(model.max_model_len);
  const most = format.whole(config.max_position_embeddings);
  const trained = [
    provenance.tokens && `${format.scaled(provenance.tokens).trim()} tokens`,
    provenance.steps && `${format.whole(provenance.steps)} steps`,
  ].filter(Boolean);
  return [
    ["Name", model.id],
    ["Parameters", format.scaled(facts.parameters).trim()],
    ["Weights", `${facts.format}, ${format.bytes(facts.weight_bytes)}`],
    ["Layers", `${config.num_hidden_layers}, ${format.whole(config.hidden_size)} wide`],
    ["Context", served === most ? `${most} tokens` : `${served} of ${most} tokens`],
    ["Conversations", facts.chat ? "has seen them" : "has not seen them: it continues text"],
    ["Trained here on", trained.join(", ")],
    ["Imported from", origin?.source ?? ""],
  ].filter(([, value]) => value);
}

export const factsList = (model, facts) =>
  el(
    "dl",
    { class: "plain-figures" },
    rowsOf(model, facts).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
  );
