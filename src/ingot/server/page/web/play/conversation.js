// A conversation as a tree of messages. A retry adds a sibling to an answer, an edit adds one to a
// question. Each node names the child that is shown; these make the path that is read and sent.

export const ROOT = "root";
const ROLES = ["user", "assistant"];
const MAX_NODES = 5000;
const MAX_CHARACTERS = 4_000_000;

const newNode = (id, parent, role, text) => ({ id, parent, role, text, children: [], shown: 0 });

export function create(mode) {
  const root = newNode(ROOT, null, null, "");
  return { id: crypto.randomUUID(), mode, updated: Date.now(), nodes: { [ROOT]: root } };
}

export const isEmpty = (conversation) => !conversation.nodes[ROOT].children.length;

// Adds a child and shows it.
export function add(conversation, parentId, role, text = "") {
  const child = newNode(crypto.randomUUID(), parentId, role, text);
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

export function title(conversation) {
  const first = path(conversation)[0]?.text.trim().replace(/\s+/g, " ") ?? "";
  if (!first) return "New";
  return first.length > 60 ? `${first.slice(0, 60)}…` : first;
}

// Returns a new conversation that begins with the path to this node.
export function branch(conversation, id) {
  const copy = create(conversation.mode);
  let parent = ROOT;
  for (const { role, text } of pathTo(conversation, id)) parent = add(copy, parent, role, text).id;
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
      pending.push([childId, add(copy, newId, child.role, child.text).id]);
    }
    if (Number.isInteger(shown) && shown >= 0 && shown < children.length) {
      copy.nodes[newId].shown = shown;
    }
  }
  if (Number.isFinite(data.updated)) copy.updated = data.updated;
  return copy;
}
