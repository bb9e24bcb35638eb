// Turns of a conversation that are no longer sent. They stay in the conversation: the last of them
// is marked, and what comes after it is sent.

// Returns the index of the first of `nodes` that is sent.
export const firstSent = (nodes) => nodes.findLastIndex(({ dropped }) => dropped) + 1;

// Returns the numbers of oldest nodes that may be dropped, in ascending order. What is sent begins
// with a user's message, so that no answer and no result of a tool loses what it belongs to. All
// may be dropped only where a message follows them.
export function cuts(nodes, hasDraft) {
  const first = firstSent(nodes);
  const starts = nodes.flatMap(({ role }, index) =>
    role === "user" && index > first ? [index] : [],
  );
  return hasDraft && nodes.length > first ? [...starts, nodes.length] : starts;
}

// Returns the fewest nodes to drop, of `numbers`, so that the rest fits; null where it never does.
// `fits(number)` asks the server, so it is asked as seldom as possible: the more is dropped, the
// more fits.
export async function fewest(numbers, fits) {
  if (!numbers.length || !(await fits(numbers.at(-1)))) return null;
  let low = 0;
  let high = numbers.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (await fits(numbers[middle])) high = middle;
    else low = middle + 1;
  }
  return numbers[low];
}

// Removes the nodes that are dropped from the messages of a request; instructions before them stay.
export function withoutDropped(messages, nodes) {
  const before = messages.length - nodes.length;
  return messages.toSpliced(before, firstSent(nodes));
}
