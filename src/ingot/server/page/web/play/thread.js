// A conversation as it is read: questions, answers, and what can be done with each.

import { button, el } from "../dom.js";
import { AnswerView } from "./answer.js";
import * as tree from "./conversation.js";

export class Thread {
  // `act` holds what the buttons do: edit, retry, goOn, branch, show.
  constructor(place, act) {
    this.place = place;
    this.act = act;
    this.views = new Map(); // of answers, by their node's id
    this.pairs = new Map(); // answers shown side by side, by the id of what they answer
  }

  view(node) {
    if (!this.views.has(node.id)) this.views.set(node.id, node.text ? AnswerView.of(node.text) : new AnswerView());
    return this.views.get(node.id);
  }

  render(conversation, { sideBySide, running }) {
    const path = tree.path(conversation);
    this.place.replaceChildren(
      ...path.map((node) => {
        if (node.role === "user") return this.question(conversation, node, running);
        const pair = sideBySide ? this.pairs.get(node.parent) : null;
        if (!pair?.includes(node.id)) return this.answer(conversation, node, running);
        return el("div", { class: "pair" }, pair.map((id) => this.answer(conversation, conversation.nodes[id], running)));
      }),
    );
  }

  question(conversation, node, running) {
    const text = el("div", { class: "text" }, node.text);
    const actions = el("div", { class: "doings" }, this.sisters(conversation, node, running));
    const article = el("article", { class: "message asked", "aria-label": "You" }, text, actions);
    actions.prepend(button("Edit", () => this.edit(node, article), { class: "quiet", disabled: running }));
    return article;
  }

  answer(conversation, node, running) {
    const doing = (text, act, help) => button(text, act, { class: "quiet", disabled: running, title: help });
    return el(
      "article",
      { class: "message answered", "aria-label": "The model" },
      this.view(node).element,
      el(
        "div",
        { class: "doings" },
        doing("Retry", () => this.act.retry(node), "Ask for another answer; this one is kept"),
        conversation.mode === "prompt" ? doing("Go on", () => this.act.goOn(node), "Let the model write on from here") : null,
        doing("Branch", () => this.act.branch(node), "Begin a new conversation that starts as this one"),
        this.sisters(conversation, node, running),
      ),
    );
  }

  // Where a question was edited or an answer retried: which of them is shown.
  sisters(conversation, node, running) {
    const all = tree.siblings(conversation, node);
    if (all.length < 2) return null;
    const place = all.indexOf(node);
    const step = (by, name) =>
      button(by < 0 ? "‹" : "›", () => this.act.show(all[place + by]), {
        class: "quiet", "aria-label": name, disabled: running || !all[place + by],
      });
    return el("span", { class: "sisters" }, step(-1, "The one before"), ` ${place + 1} of ${all.length} `, step(1, "The next one"));
  }

  edit(node, article) {
    const input = el("textarea", { rows: Math.min(12, node.text.split("\n").length + 1), "aria-label": "Edit and send again", spellcheck: "false" });
    input.value = node.text;
    const back = () => this.act.show(node);
    const send = () => (input.value ? this.act.edit(node, input.value) : back());
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.stopPropagation();
        send();
      }
    });
    article.replaceChildren(input, el("div", { class: "doings" }, button("Send again", send, { class: "primary" }), button("Leave it", back)));
    input.focus();
  }
}
