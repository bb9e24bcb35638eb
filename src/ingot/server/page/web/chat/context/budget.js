// What the context of a model still holds. All numbers are tokens.

const NEAR = 0.8; // share of the context from which it counts as filling

// `used`: the prompt, with the message that is being written. `answer`: the longest answer that is
// wanted. `limit`: the context. Returns { level, left, share }, where level is
//   "full"   the next message would be refused
//   "short"  the next answer would be cut
//   "near"   the context fills
//   "free"   none of these
// An answer that may be longer than a quarter of the context is short only below that quarter:
// models seldom write as much as they may.
export function judge({ used, answer, limit }) {
  const left = Math.max(0, limit - used);
  const share = Math.min(1, used / limit);
  if (left < 1) return { level: "full", left, share };
  if (left < Math.min(answer, limit / 4)) return { level: "short", left, share };
  return { level: share >= NEAR ? "near" : "free", left, share };
}

// How many tokens to free when turns are dropped: the next answer, but between a quarter and half
// of the context.
export const roomFor = (answer, limit) =>
  Math.floor(Math.min(Math.max(answer, limit / 4), limit / 2));
