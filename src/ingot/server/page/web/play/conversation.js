// A conversation is a tree: to retry is to add a sister to an answer, to edit is to add one to a
// question. Which child of each node is shown makes the path that is read, and sent.

export const ROOT = "root";
const ROLES = ["user", "assistant"];
const MOST_NODES = 5000;
const MOST_CHARACTERS = 4_000_000;

const newId = () => crypto.randomUUID();
const node = (id, parent, role, text) => ({ id, parent, role, text, children: [], shown: 0 });

export function create(mode) {
  return { id: newId(), mode, updated: Date.now(), nodes: { [ROOT]: node(ROOT, null, null, "") } };
}

// Adds a child, which is shown from now on.
export function add(conversation, parentId, role, text = "") {
  const child = node(newId(), parentId, role, text);
  const parent = conversation.nodes[parentId];
  conversation.nodes[child.id] = child;
  parent.shown = parent.children.push(child.id) - 1;
  conversation.updated = Date.now();
  return child;
}

export function siblings(conversation, of) {
  return conversation.nodes[of.parent].children.map((id) => conversation.nodes[id]);
}

export function show(conversation, of) {
  const parent = conversation.nodes[of.parent];
  parent.shown = parent.children.indexOf(of.id);
}

// From the first question to the last answer shown.
export function path(conversation) {
  const taken = [];
  let at = conversation.nodes[ROOT];
  while (at.children.length) taken.push((at = conversation.nodes[at.children[at.shown]]));
  return taken;
}

// From the first question to this node.
export function pathTo(conversation, id) {
  const taken = [];
  for (let at = conversation.nodes[id]; at.id !== ROOT; at = conversation.nodes[at.parent]) taken.unshift(at);
  return taken;
}

export function title(conversation) {
  const first = path(conversation)[0]?.text.trim().replace(/\s+/g, " ") ?? "";
  if (!first) return "New";
  return first.length > 60 ? `${first.slice(0, 60)}…` : first;
}

// A new conversation that begins with the path to this node.
export function branch(conversation, id) {
  const copy = create(conversation.mode);
  let parent = ROOT;
  for (const { role, text } of pathTo(conversation, id)) parent = add(copy, parent, role, text).id;
  return copy;
}

// Takes what may be conversations from a file or from storage; throws where they are none.
export function checked(data) {
  if (!Array.isArray(data)) throw new Error("This is no list of conversations.");
  return data.map(checkedOne);
}

function checkedOne(data) {
  const copy = create(data?.mode === "prompt" ? "prompt" : "chat");
  const nodes = data?.nodes;
  if (typeof nodes !== "object" || nodes === null || typeof nodes[ROOT] !== "object") {
    throw new Error("A conversation in it has no messages.");
  }
  let count = 0;
  let characters = 0;
  const pending = [[ROOT, ROOT]]; // the old id of a node and its new one
  while (pending.length) {
    const [oldId, newParent] = pending.pop();
    const children = nodes[oldId]?.children;
    if (!Array.isArray(children)) throw new Error("A message in it is broken.");
    for (const childId of children) {
      const child = Object.hasOwn(nodes, childId) ? nodes[childId] : null;
      if (!ROLES.includes(child?.role) || typeof child.text !== "string") throw new Error("A message in it is broken.");
      characters += child.text.length;
      if (++count > MOST_NODES || characters > MOST_CHARACTERS) throw new Error("A conversation in it is too long.");
      pending.push([childId, add(copy, newParent, child.role, child.text).id]);
    }
    const shown = nodes[oldId].shown;
    if (Number.isInteger(shown) && shown >= 0 && shown < children.length) copy.nodes[newParent].shown = shown;
  }
  if (Number.isFinite(data.updated)) copy.updated = data.updated;
  return copy;
}
