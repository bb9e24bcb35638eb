// The messages of a conversation, with the actions on each. What is shown stays the same elements
// while the conversation grows, so that a selection and the reader's place survive.

import { copyWith } from "../shared/clipboard.js";
import { button, el, iconButton } from "../shared/elements.js";
import { AnswerView } from "./answer_view.js";
import * as tree from "./conversation.js";

export class MessageList {
  // chat: the Chat whose messages these are. onEdit() is called when an editor opens or closes.
  constructor(container, chat) {
    this.container = container;
    this.chat = chat;
    this.entries = new Map(); // { element, bar, … } by node id
    this.conversation = null;
    this.editing = null; // id of the node that is being edited
  }

  view(node) {
    return this.entry(node).view;
  }

  render() {
    const { current } = this.chat;
    if (current !== this.conversation) {
      this.conversation = current;
      this.entries.clear();
      this.editing = null;
    }
    const shown = tree.path(current).map((node) => this.group(node));
    shown.forEach((element, index) => {
      const there = this.container.children[index];
      if (there !== element) this.container.insertBefore(element, there ?? null);
    });
    while (this.container.children.length > shown.length) this.container.lastChild.remove();
  }

  // The element of a message; answers that were generated together stand side by side.
  group(node) {
    const pair = this.chat.pairs
      .get(node.parent)
      ?.filter((id) => id in this.chat.current.nodes && this.chat.sideBySide);
    if (!pair?.includes(node.id) || pair.length < 2) return this.message(node);
    const both = pair.map((id) => this.message(this.chat.current.nodes[id]));
    return el("div", { class: "pair" }, both);
  }

  message(node) {
    const entry = this.entry(node);
    entry.bar.replaceChildren(...this.actions(node));
    return entry.element;
  }

  entry(node) {
    if (!this.entries.has(node.id)) this.entries.set(node.id, this.create(node));
    return this.entries.get(node.id);
  }

  create(node) {
    const isUser = node.role === "user";
    const name = isUser ? "You" : node.role === "tool" ? "Tool" : (node.model ?? "The model");
    const form = this.chat.current.mode === "prompt" ? "tokens" : "markdown";
    const view = node.role === "assistant" ? new AnswerView(form, node.text) : null;
    view?.showFigures(node.figures);
    const who = el("p", { class: "who" }, name);
    const body = el("div", { class: "message-body" });
    const text = view?.element ?? el("div", { class: "text plain" }, node.text);
    const footer = el("div", { class: "message-footer" });
    const bar = el("div", { class: "message-bar" });
    const attributes = { class: `message ${node.role}`, "aria-label": name };
    const element = el("article", attributes, who, body, text, footer, bar);
    for (const hook of this.chat.hooks.decorate) hook(node, { element, body, footer, view });
    return { element, text, bar, view, who };
  }

  actions(node) {
    if (this.editing === node.id) return [];
    const { chat } = this;
    const disabled = chat.isBusy;
    const isLast = !node.children.length;
    const action = (name, iconName, run) => iconButton(name, iconName, run, { disabled });
    const isAnswer = node.role === "assistant";
    const { view } = this.entry(node);
    const own = [
      this.versions(node, disabled),
      this.copyButton(node),
      action("Edit", "edit", () => this.edit(node)),
      isAnswer && action("Regenerate", "retry", () => chat.retry(node)),
      isAnswer && isLast && action("Continue", "forward", () => chat.continueAnswer(node)),
      action("Branch", "branch", () => chat.branch(node)),
      view?.hasTokens && this.probabilitiesButton(view),
    ];
    const further = chat.hooks.actions
      .filter(({ when }) => !when || when(node))
      .map(({ label, icon, run }) => action(label, icon, () => run(node)));
    return [...own, ...further].filter(Boolean);
  }

  copyButton(node) {
    const copy = iconButton("Copy", "copy", () => copyWith(copy, node.text));
    return copy;
  }

  // Shows each token in the colour of its probability; they are not shown as Markdown then.
  probabilitiesButton(view) {
    const toggle = iconButton("Probabilities of the tokens", "eye", () => {
      view.isTinted = !view.isTinted;
      toggle.setAttribute("aria-pressed", String(view.isTinted));
    });
    toggle.setAttribute("aria-pressed", String(view.isTinted));
    return toggle;
  }

  // Which version of an edited message or regenerated answer is shown; null if there is only one.
  versions(node, disabled) {
    const all = tree.siblings(this.chat.current, node);
    if (all.length < 2) return null;
    const index = all.indexOf(node);
    const step = (name, iconName, sibling) =>
      iconButton(name, iconName, () => this.chat.show(sibling), { disabled: disabled || !sibling });
    return el(
      "span",
      { class: "versions" },
      step("Previous version", "left", all[index - 1]),
      el("span", {}, `${index + 1} of ${all.length}`),
      step("Next version", "right", all[index + 1]),
    );
  }

  edit(node) {
    const { element, text, bar } = this.entry(node);
    const isUser = node.role === "user";
    const label = isUser ? "Edit and send again" : "Edit the answer";
    const rows = Math.min(16, node.text.split("\n").length + 1);
    const input = el("textarea", { rows, "aria-label": label, spellcheck: "false" });
    input.value = node.text;
    const close = () => {
      this.editing = null;
      editor.replaceWith(text);
      element.classList.remove("editing");
      bar.replaceChildren(...this.actions(node));
    };
    const accept = () => {
      close();
      if (input.value && input.value !== node.text) this.chat.edit(node, input.value);
    };
    input.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        close();
      }
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) accept();
    });
    const editor = el(
      "div",
      { class: "editor" },
      input,
      el(
        "div",
        { class: "toolbar" },
        button(isUser ? "Send again" : "Save", accept, { class: "primary small" }),
        button("Cancel", close, { class: "small" }),
      ),
    );
    this.editing = node.id;
    bar.replaceChildren();
    element.classList.add("editing");
    text.replaceWith(editor);
    input.focus();
  }
}
