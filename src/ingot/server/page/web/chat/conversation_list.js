// The conversations at the left: search, rename, delete with undo, export and import.

import { $, button, el, iconButton } from "../shared/elements.js";
import { icon } from "../shared/icons.js";
import { toast } from "../shared/toast.js";
import * as tree from "./conversation.js";
import { exported, imported } from "./storage.js";

const MAX_BYTES = 20_000_000;
const REVOKE_AFTER_MS = 10_000; // the download has read the address by then
const DAY_MS = 86_400_000;

export class ConversationList {
  // chat: a Chat. onSelect() is called after one was chosen.
  constructor(chat, onSelect) {
    this.chat = chat;
    this.onSelect = onSelect;
    this.renaming = null;
    $("new").prepend(icon("plus"));
    $("search").addEventListener("input", () => this.render());
    $("export").addEventListener("click", () => this.export(chat.conversations, "conversations"));
    $("import").addEventListener("change", (event) => this.import(event.target));
  }

  render() {
    const { conversations, current } = this.chat;
    const words = $("search").value.trim().toLowerCase();
    const shown = conversations
      .filter((one) => one === current || !tree.isEmpty(one))
      .filter((one) => !words || textOf(one).includes(words));
    const groups = Map.groupBy
      ? Map.groupBy(shown, (one) => ageOf(one.updated))
      : new Map([["", shown]]);
    const parts = [...groups].map(([name, members]) => [
      name ? el("p", { class: "age", "aria-hidden": "true" }, name) : null,
      el(
        "ul",
        { "aria-label": name || "Conversations" },
        members.map((one) => this.item(one)),
      ),
    ]);
    const nothing = el("p", { class: "help" }, "No conversation holds these words.");
    $("conversations").replaceChildren(
      ...(shown.length ? parts.flat().filter(Boolean) : [nothing]),
    );
    if (this.renaming) $("conversations").querySelector(".rename")?.select();
  }

  item(one) {
    const title = tree.title(one);
    if (this.renaming === one) return el("li", {}, this.renameField(one));
    const open = () => {
      this.chat.select(one);
      this.onSelect();
    };
    const isCurrent = one === this.chat.current ? "true" : null;
    return el(
      "li",
      {},
      button(title, open, { class: "title", title, "aria-current": isCurrent }),
      tree.isEmpty(one)
        ? null
        : el(
            "span",
            { class: "item-actions" },
            iconButton(`Rename “${title}”`, "edit", () => this.rename(one)),
            iconButton(`Export “${title}”`, "download", () => this.export([one], title)),
            iconButton(`Delete “${title}”`, "trash", () => this.remove(one)),
          ),
    );
  }

  rename(one) {
    this.renaming = one;
    this.render();
  }

  renameField(one) {
    const input = el("input", {
      type: "text",
      class: "rename",
      maxlength: 200,
      "aria-label": "Name",
    });
    input.value = tree.title(one);
    const end = (name) => {
      if (this.renaming !== one) return; // Enter ends it, and then the loss of the focus
      this.renaming = null;
      if (name !== null) one.name = name.trim();
      this.chat.changed();
    };
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") end(input.value);
      if (event.key !== "Escape") return;
      event.stopPropagation();
      end(null);
    });
    input.addEventListener("blur", () => end(input.value));
    return input;
  }

  remove(one) {
    const title = tree.title(one);
    const putBack = this.chat.remove(one);
    ($("conversations").querySelector(".title[aria-current]") ?? $("new")).focus();
    toast(`Deleted “${title}”.`, [["Undo", putBack]]);
  }

  export(conversations, name) {
    const file = new Blob([exported(conversations)], { type: "application/json" });
    const address = URL.createObjectURL(file);
    const words = name
      .toLowerCase()
      .replaceAll(/[^a-z0-9]+/g, "-")
      .replaceAll(/^-|-$/g, "");
    el("a", { href: address, download: `ingot-${words || "conversation"}.json` }).click();
    setTimeout(() => URL.revokeObjectURL(address), REVOKE_AFTER_MS);
  }

  async import(input) {
    const [file] = input.files;
    if (!file) return;
    try {
      if (file.size > MAX_BYTES) throw new Error("This file is too large.");
      const found = imported(await file.text());
      this.chat.addAll(found);
      const many = `${found.length} conversations imported.`;
      this.chat.notify(found.length === 1 ? "One conversation imported." : many);
    } catch (error) {
      this.chat.notify(error.message, { error: true });
    }
    input.value = "";
  }
}

const textOf = (conversation) =>
  [conversation.name, ...Object.values(conversation.nodes).map(({ text }) => text)]
    .join("\n")
    .toLowerCase();

function ageOf(time) {
  const midnight = new Date().setHours(0, 0, 0, 0);
  if (time >= midnight) return "Today";
  if (time >= midnight - DAY_MS) return "Yesterday";
  return time >= midnight - 7 * DAY_MS ? "This week" : "Earlier";
}
