// The messages of a conversation, with the actions on each.

import { button, el } from "../shared/elements.js";
import { AnswerView } from "./answer_view.js";
import * as tree from "./conversation.js";

export class MessageList {
  // actions: { edit(node, text), retry(node), continueFrom(node), branch(node), show(node) }
  constructor(container, actions) {
    this.container = container;
    this.actions = actions;
    this.views = new Map(); // AnswerView by node id: it outlives a rendering
    this.pairs = new Map(); // ids of answers shown side by side, by the id of their question
  }

  view(node) {
    if (!this.views.has(node.id)) {
      this.views.set(node.id, node.text ? AnswerView.of(node.text) : new AnswerView());
    }
    return this.views.get(node.id);
  }

  render(conversation, { sideBySide, running }) {
    const messages = tree.path(conversation).map((node) => {
      if (node.role === "user") return this.userMessage(conversation, node, running);
      const isKept = (id) => id in conversation.nodes; // a refused answer is removed
      const pair = sideBySide ? this.pairs.get(node.parent)?.filter(isKept) : null;
      if (!pair?.includes(node.id)) return this.assistantMessage(conversation, node, running);
      const both = pair.map((id) =>
        this.assistantMessage(conversation, conversation.nodes[id], running),
      );
      return el("div", { class: "pair" }, both);
    });
    this.container.replaceChildren(...messages);
  }

  userMessage(conversation, node, running) {
    const text = el("div", { class: "text" }, node.text);
    const toolbar = el("div", { class: "toolbar" }, this.versions(conversation, node, running));
    const article = el("article", { class: "message user", "aria-label": "You" }, text, toolbar);
    const edit = () => this.edit(node, article);
    toolbar.prepend(button("Edit", edit, { class: "quiet", disabled: running }));
    return article;
  }

  assistantMessage(conversation, node, running) {
    const action = (text, onClick, title) =>
      button(text, onClick, { class: "quiet", disabled: running, title });
    return el(
      "article",
      { class: "message assistant", "aria-label": "The model" },
      this.view(node).element,
      el(
        "div",
        { class: "toolbar" },
        action(
          "Retry",
          () => this.actions.retry(node),
          "Generate another answer and keep this one",
        ),
        conversation.mode === "prompt"
          ? action("Continue", () => this.actions.continueFrom(node), "Continue the text from here")
          : null,
        action(
          "Branch",
          () => this.actions.branch(node),
          "Start a new conversation from this message",
        ),
        this.versions(conversation, node, running),
      ),
    );
  }

  // Which version of an edited question or retried answer is shown; null if there is only one.
  versions(conversation, node, running) {
    const all = tree.siblings(conversation, node);
    if (all.length < 2) return null;
    const index = all.indexOf(node);
    const step = (text, name, sibling) =>
      button(text, () => this.actions.show(sibling), {
        class: "quiet",
        "aria-label": name,
        disabled: running || !sibling,
      });
    return el(
      "span",
      { class: "versions" },
      step("‹", "Previous version", all[index - 1]),
      ` ${index + 1} of ${all.length} `,
      step("›", "Next version", all[index + 1]),
    );
  }

  edit(node, article) {
    const input = el("textarea", {
      rows: Math.min(12, node.text.split("\n").length + 1),
      "aria-label": "Edit and send again",
      spellcheck: "false",
    });
    input.value = node.text;
    const cancel = () => this.actions.show(node);
    const send = () => (input.value ? this.actions.edit(node, input.value) : cancel());
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.stopPropagation(); // the view's own shortcut would send the composer
        send();
      }
    });
    const primary = { class: "primary" };
    const toolbar = el(
      "div",
      { class: "toolbar" },
      button("Send again", send, primary),
      button("Cancel", cancel),
    );
    article.replaceChildren(input, toolbar);
    input.focus();
  }
}
