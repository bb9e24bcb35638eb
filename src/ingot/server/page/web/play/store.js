// Conversations and settings, kept in this browser and nowhere else.

import * as tree from "./conversation.js";

const CONVERSATIONS = "ingot.conversations";
const SETTINGS = "ingot.settings";
const MOST = 200;

export function readConversations() {
  try {
    return tree.checked(JSON.parse(localStorage.getItem(CONVERSATIONS) ?? "[]"));
  } catch {
    return []; // of another version, or damaged
  }
}

// Returns what went wrong, in words, or nothing.
export function saveConversations(conversations) {
  const kept = conversations.filter((one) => one.nodes[tree.ROOT].children.length).slice(0, MOST);
  try {
    localStorage.setItem(CONVERSATIONS, JSON.stringify(kept.map(plain)));
    return "";
  } catch {
    return "This browser has no room left for conversations: export them, then delete some.";
  }
}

export function readSettings() {
  try {
    const read = JSON.parse(localStorage.getItem(SETTINGS) ?? "{}");
    return typeof read === "object" && read !== null ? read : {};
  } catch {
    return {};
  }
}

export function saveSettings(settings) {
  try {
    localStorage.setItem(SETTINGS, JSON.stringify(settings));
  } catch {
    // They are only forgotten.
  }
}

export function exported(conversations) {
  return JSON.stringify({ ingot: "conversations", version: 1, conversations: conversations.map(plain) }, null, 1);
}

export function imported(text) {
  let data;
  try {
    data = JSON.parse(text);
  } catch {
    throw new Error("This file is not JSON.");
  }
  if (data?.ingot !== "conversations" || data.version !== 1) throw new Error("This file holds no conversations of Ingot.");
  return tree.checked(data.conversations);
}

// Without what is only for the eye: tokens' probabilities, figures, faults.
function plain({ id, mode, updated, nodes }) {
  const bare = Object.values(nodes).map(({ id, parent, role, text, children, shown }) => [id, { id, parent, role, text, children, shown }]);
  return { id, mode, updated, nodes: Object.fromEntries(bare) };
}
