// Storage of conversations and settings, in this browser only.

import * as tree from "./conversation.js";

const CONVERSATIONS = "ingot.conversations";
const SETTINGS = "ingot.settings";
const MAX_CONVERSATIONS = 200;

export function readConversations() {
  try {
    return tree.parse(JSON.parse(localStorage.getItem(CONVERSATIONS) ?? "[]"));
  } catch {
    return []; // from another version, or damaged
  }
}

// Returns an error message, or "" on success.
export function saveConversations(conversations) {
  const kept = conversations.filter((one) => !tree.isEmpty(one)).slice(0, MAX_CONVERSATIONS);
  try {
    localStorage.setItem(CONVERSATIONS, JSON.stringify(kept.map(tree.serializable)));
    return "";
  } catch {
    return "The storage of this browser is full: export the conversations, then delete some.";
  }
}

export function readSettings() {
  try {
    const settings = JSON.parse(localStorage.getItem(SETTINGS) ?? "{}");
    return typeof settings === "object" && settings !== null ? settings : {};
  } catch {
    return {};
  }
}

export function saveSettings(settings) {
  try {
    localStorage.setItem(SETTINGS, JSON.stringify(settings));
  } catch {
    // Settings that cannot be stored start from their defaults next time; nothing else is lost.
  }
}

export function exported(conversations) {
  const data = {
    ingot: "conversations",
    version: 1,
    conversations: conversations.map(tree.serializable),
  };
  return JSON.stringify(data, null, 1);
}

export function imported(text) {
  let data;
  try {
    data = JSON.parse(text);
  } catch {
    throw new Error("This file is not JSON.");
  }
  if (data?.ingot !== "conversations" || data.version !== 1) {
    throw new Error("This file does not hold conversations of Ingot.");
  }
  return tree.parse(data.conversations);
}
