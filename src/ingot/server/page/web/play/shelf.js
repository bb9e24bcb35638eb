// The list of conversations, and how they leave this browser and come back.

import { $, button, el } from "../dom.js";
import * as tree from "./conversation.js";
import { exported, imported } from "./store.js";

const MOST_BYTES = 20_000_000;

export class Shelf {
  // `act` holds: open(conversation), remove(conversation), add(conversations), say(text, isError).
  constructor(act) {
    this.act = act;
    $("export").addEventListener("click", () => this.export());
    $("import").addEventListener("change", (event) => this.import(event.target));
    this.all = [];
  }

  render(all, current) {
    this.all = all;
    const kept = all.filter((one) => one === current || one.nodes[tree.ROOT].children.length);
    $("conversations").replaceChildren(
      ...kept.map((one) =>
        el(
          "li",
          {},
          button(tree.title(one), () => this.act.open(one), { class: "title", "aria-current": one === current ? "true" : null }),
          button("×", () => this.act.remove(one), { class: "quiet", "aria-label": `Delete “${tree.title(one)}”` }),
        ),
      ),
    );
  }

  export() {
    const address = URL.createObjectURL(new Blob([exported(this.all)], { type: "application/json" }));
    el("a", { href: address, download: "ingot-conversations.json" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }

  async import(input) {
    const [file] = input.files;
    if (!file) return;
    try {
      if (file.size > MOST_BYTES) throw new Error("This file is too large.");
      const found = imported(await file.text());
      this.act.add(found);
      this.act.say(found.length === 1 ? "One conversation imported." : `${found.length} conversations imported.`);
    } catch (error) {
      this.act.say(error.message, true);
    }
    input.value = "";
  }
}
