// The table of what training and serving the chosen model take, from its sizes.

import { table } from "../shared/elements.js";
import * as format from "../shared/format.js";

export function factsTable(model) {
  const source = model.provenance;
  const ifKnown = (value, write) =>
    value === null || value === undefined ? "not known" : write(value);
  return table(
    `Training and serving ${model.name}`,
    ["", "training", "inference"],
    [
      ["weights", "changed by every update", `sealed: ${format.digest(model.digest)}`],
      [
        "work for a token",
        `${format.scaled(model.training_flops_per_token)}FLOP, forward and backward`,
        `${format.scaled(model.inference_flops_per_token)}FLOP, forward only`,
      ],
      [
        "tokens",
        ifKnown(source.tokens, (value) => `${format.whole(value)} read, once`),
        "as many as users ask for",
      ],
      [
        "time",
        ifKnown(source.wall_seconds, (value) => `${format.seconds(value)}, once`),
        "a moment for every answer",
      ],
      [
        "memory for text",
        "all activations that the backward pass needs",
        `${format.bytes(model.kv_bytes_per_token)} a token`,
      ],
    ],
  );
}
