// What happened to a run besides updates, as marks on its curves.

import * as format from "../shared/format.js";

const FULL = 0.999; // of the largest learning rate; above it counts as full

// Returns [{ x, kind, text }], kind: "guard", "rate", "start", "checkpoint" or "sealed".
export function marksOf(run, facts) {
  const marks = [...run.events.map(markOf), ...rateMarks(run.steps)];
  const sealed = sealedAt(run, facts);
  if (sealed !== null) {
    const text = `update ${format.whole(sealed)}: sealed as the model served here, ${format.digest(facts.digest)}`;
    marks.push({ x: sealed, kind: "sealed", text });
  }
  return marks.filter(Boolean).sort((a, b) => a.x - b.x);
}

function markOf({ event, step, why, back_to, note }) {
  const at = `update ${format.whole(step)}`;
  if (event === "checkpointed") return { x: step, kind: "checkpoint", text: `${at}: checkpoint` };
  if (event === "skipped") {
    const back = Number.isFinite(back_to) ? `, back to update ${format.whole(back_to)}` : "";
    return { x: step, kind: "guard", text: `${at}: skipped, ${why ?? "not finite"}${back}` };
  }
  const text = step ? `${at}: resumed` : `started: ${note ?? ""}`;
  return { x: step, kind: "start", text };
}

// Where the learning rate reaches its full value, and where it begins to fall.
function rateMarks(steps) {
  const rates = steps.map(({ learning_rate }) => learning_rate);
  const largest = rates.reduce((most, rate) => (rate > most ? rate : most), 0);
  if (!largest) return [];
  const first = rates.findIndex((rate) => rate >= FULL * largest);
  const last = rates.findLastIndex((rate) => rate >= FULL * largest);
  const mark = (index, text) => {
    const x = steps[index].step;
    return { x, kind: "rate", text: `update ${format.whole(x)}: ${text}` };
  };
  return [
    first > 0 ? mark(first, "full learning rate") : null,
    last < steps.length - 1 ? mark(last, "learning rate falls") : null,
  ];
}

// The update at which the served model was sealed from this run; null if it is another's.
// Its provenance says how many updates it has seen and its exact held-out loss.
export function sealedAt(run, facts) {
  const { steps, validation_loss } = facts?.provenance ?? {};
  if (!Number.isFinite(validation_loss)) return null;
  const found = run.evaluations.some(
    ({ step, loss }) => step === steps && loss === validation_loss,
  );
  return found ? steps : null;
}
