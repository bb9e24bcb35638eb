// A conversation as a tree of messages. A retry adds a sibling to an answer, an edit adds one to a
// question. Each node names the child that is shown; these make the path that is read and sent.

export const ROOT = "root";
const ROLES = ["user", "assistant", "tool"];
const MAX_NODES = 5000;
const MAX_CHARACTERS = 4_000_000;
const MAX_NAME = 200;

// A node may also have `model`, the name of the model that wrote it; `figures`, what was measured
// of it; and `fields`, what goes into the message of the API besides role and content, such as
// tool_calls; and `dropped`: neither it nor what is before it is sent. All four are plain JSON and
// are kept.
const newNode = (id, parent, role, text) => ({ id, parent, role, text, children: [], shown: 0 });

// An id for something of this browser's. crypto.randomUUID needs https or this machine's own name.
const newId = () =>
  [...crypto.getRandomValues(new Uint8Array(16))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");

// `name` is empty until the conversation is renamed; `mode` is "chat" or "prompt".
export function create(mode) {
  const root = newNode(ROOT, null, null, "");
  return { id: newId(), name: "", mode, updated: Date.now(), nodes: { [ROOT]: root } };
}

export const isEmpty = (conversation) => !conversation.nodes[ROOT].children.length;

// Adds a child and shows it.
export function add(conversation, parentId, role, text = "") {
  const child = newNode(newId(), parentId, role, text);
  const parent = conversation.nodes[parentId];
  conversation.nodes[child.id] = child;
  parent.shown = parent.children.push(child.id) - 1;
  conversation.updated = Date.now();
  return child;
}

// Removes a node that has no children; a sibling is shown instead, if there is one.
export function remove(conversation, node) {
  const parent = conversation.nodes[node.parent];
  parent.children = parent.children.filter((id) => id !== node.id);
  parent.shown = Math.max(0, Math.min(parent.shown, parent.children.length - 1));
  delete conversation.nodes[node.id];
}

export function siblings(conversation, node) {
  return conversation.nodes[node.parent].children.map((id) => conversation.nodes[id]);
}

export function show(conversation, node) {
  const parent = conversation.nodes[node.parent];
  parent.shown = parent.children.indexOf(node.id);
}

// The shown messages, from the first question to the last answer.
export function path(conversation) {
  const nodes = [];
  let node = conversation.nodes[ROOT];
  while (node.children.length) {
    node = conversation.nodes[node.children[node.shown]];
    nodes.push(node);
  }
  return nodes;
}

// The messages from the first question to this node.
export function pathTo(conversation, id) {
  const nodes = [];
  let node = conversation.nodes[id];
  while (node.id !== ROOT) {
    nodes.unshift(node);
    node = conversation.nodes[node.parent];
  }
  return nodes;
}

// Its name, or its first words.
export function title(conversation) {
  if (conversation.name) return conversation.name;
  const first = path(conversation)[0]?.text.trim().replace(/\s+/g, " ") ?? "";
  if (!first) return "New conversation";
  return first.length > 60 ? `${first.slice(0, 60)}…` : first;
}

// Returns a new conversation that begins with the path to this node.
export function branch(conversation, id) {
  const copy = create(conversation.mode);
  let parent = ROOT;
  for (const { role, text, model, figures, fields, dropped } of pathTo(conversation, id)) {
    const node = add(copy, parent, role, text);
    Object.assign(node, structuredClone({ model, figures, fields, dropped }));
    parent = node.id;
  }
  return copy;
}

// Returns the conversations in untrusted data, from a file or from storage, as fresh copies.
// Throws an Error that says what is wrong with it.
export function parse(data) {
  if (!Array.isArray(data)) throw new Error("This is not a list of conversations.");
  return data.map(parseOne);
}

function parseOne(data) {
  const copy = create(data?.mode === "prompt" ? "prompt" : "chat");
  const nodes = data?.nodes;
  if (typeof nodes !== "object" || nodes === null || typeof nodes[ROOT] !== "object") {
    throw new Error("A conversation in it has no messages.");
  }
  // New ids and these limits also end a walk through a cycle.
  let count = 0;
  let characters = 0;
  const pending = [[ROOT, ROOT]]; // [old id, new id] of nodes whose children are to be copied
  while (pending.length) {
    const [oldId, newId] = pending.pop();
    const { children, shown } = nodes[oldId];
    if (!Array.isArray(children)) throw new Error("A message in it is invalid.");
    for (const childId of children) {
      const child = Object.hasOwn(nodes, childId) ? nodes[childId] : null;
      if (!ROLES.includes(child?.role) || typeof child.text !== "string") {
        throw new Error("A message in it is invalid.");
      }
      count += 1;
      characters += child.text.length;
      if (count > MAX_NODES || characters > MAX_CHARACTERS) {
        throw new Error("A conversation in it is too long.");
      }
      const added = add(copy, newId, child.role, child.text);
      Object.assign(added, known(child));
      characters += JSON.stringify(added.fields ?? null).length;
      pending.push([childId, added.id]);
    }
    if (Number.isInteger(shown) && shown >= 0 && shown < children.length) {
      copy.nodes[newId].shown = shown;
    }
  }
  if (Number.isFinite(data.updated)) copy.updated = data.updated;
  if (typeof data.name === "string") copy.name = data.name.slice(0, MAX_NAME);
  return copy;
}

// What a node of a file has besides its text, as far as it is of the right kind.
function known({ model, figures, fields, dropped }) {
  const found = {};
  if (dropped === true) found.dropped = true;
  if (typeof model === "string") found.model = model.slice(0, MAX_NAME);
  if (isObject(figures)) {
    const numbers = Object.entries(figures).filter(([, value]) => Number.isFinite(value));
    found.figures = Object.fromEntries(numbers);
    const { currency } = figures;
    if (typeof currency === "string") found.figures.currency = currency.slice(0, 10);
  }
  if (isObject(fields)) {
    const { role, content, ...others } = fields; // these two are the node's own
    found.fields = structuredClone(others);
  }
  return found;
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

// The conversation as it is kept: without what was only displayed, such as probabilities.
export function serializable({ id, name, mode, updated, nodes }) {
  const entries = Object.values(nodes).map(
    ({ id, parent, role, text, children, shown, model, figures, fields, dropped }) => [
      id,
      { id, parent, role, text, children, shown, model, figures, fields, dropped },
    ],
  );
  return { id, name, mode, updated, nodes: Object.fromEntries(entries) };
}
