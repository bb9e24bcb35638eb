// Calls of tools in an answer, put together from the pieces of a stream.

const MAX_CALLS = 128;

// Adds the pieces of one event to the calls in `fields`; returns whether there were any.
export function collect(fields, pieces) {
  for (const { index, id, function: called } of pieces ?? []) {
    if (!Number.isInteger(index) || index < 0 || index >= MAX_CALLS) continue;
    fields.tool_calls ??= [];
    const calls = fields.tool_calls;
    while (calls.length <= index) {
      calls.push({ id: "", type: "function", function: { name: "", arguments: "" } });
    }
    const call = calls[index];
    if (id) call.id = id;
    if (called?.name) call.function.name = called.name;
    call.function.arguments += called?.arguments ?? "";
  }
  return Boolean(pieces?.length);
}

// Whether a call is whole: it has a name and its arguments are a JSON object.
export function isWhole({ id, function: { name, arguments: text } }) {
  try {
    const value = JSON.parse(text);
    return Boolean(id && name) && typeof value === "object" && value !== null;
  } catch {
    return false;
  }
}

// Removes from `fields` calls that were cut; returns how many there were.
export function removeCut(fields) {
  const calls = fields.tool_calls ?? [];
  const whole = calls.filter(isWhole);
  if (whole.length) fields.tool_calls = whole;
  else delete fields.tool_calls;
  return calls.length - whole.length;
}

// The calls of a node of a conversation, as far as they have the form of calls: a file may hold
// anything.
export function callsOf(node) {
  const calls = node.fields?.tool_calls;
  if (!Array.isArray(calls)) return [];
  const isCall = (call) =>
    typeof call?.id === "string" &&
    typeof call.function?.name === "string" &&
    typeof call.function.arguments === "string";
  return calls.filter(isCall);
}

// Arguments with white space, for the reader; as they came where they are not JSON.
export function readable(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
