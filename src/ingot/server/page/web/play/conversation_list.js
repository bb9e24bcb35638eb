// The list of conversations, with export to a file and import from one.

import { $, button, el } from "../shared/elements.js";
import * as tree from "./conversation.js";
import { exported, imported } from "./storage.js";

const MAX_BYTES = 20_000_000;
const REVOKE_AFTER_MS = 10_000; // the download has read the address by then

export class ConversationList {
  // actions: { open(conversation), remove(conversation), add(conversations),
  // showStatus(text, isError) }
  constructor(actions) {
    this.actions = actions;
    this.conversations = [];
    $("export").addEventListener("click", () => this.export());
    $("import").addEventListener("change", (event) => this.import(event.target));
  }

  render(conversations, current) {
    this.conversations = conversations;
    const shown = conversations.filter((one) => one === current || !tree.isEmpty(one));
    const items = shown.map((one) => {
      const title = tree.title(one);
      const isCurrent = one === current ? "true" : null;
      const open = () => this.actions.open(one);
      const remove = () => this.actions.remove(one);
      return el(
        "li",
        {},
        button(title, open, { class: "title", "aria-current": isCurrent }),
        button("×", remove, { class: "quiet", "aria-label": `Delete “${title}”` }),
      );
    });
    $("conversations").replaceChildren(...items);
  }

  export() {
    const file = new Blob([exported(this.conversations)], { type: "application/json" });
    const address = URL.createObjectURL(file);
    el("a", { href: address, download: "ingot-conversations.json" }).click();
    setTimeout(() => URL.revokeObjectURL(address), REVOKE_AFTER_MS);
  }

  async import(input) {
    const [file] = input.files;
    if (!file) return;
    const { add, showStatus } = this.actions;
    try {
      if (file.size > MAX_BYTES) throw new Error("This file is too large.");
      const found = imported(await file.text());
      add(found);
      showStatus(
        found.length === 1
          ? "One conversation imported."
          : `${found.length} conversations imported.`,
      );
    } catch (error) {
      showStatus(error.message, true);
    }
    input.value = "";
  }
}
