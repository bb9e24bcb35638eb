// The composer: a text that grows with its lines, Enter to send, drafts that outlive a reload.

import { $ } from "../shared/elements.js";
import { icon } from "../shared/icons.js";
import { describeKeys } from "../shared/keyboard.js";

const DRAFT = "ingot.draft";
const LABELS = { chat: ["Message", "Ask anything"], prompt: ["Prompt", "A text to continue"] };

export class Composer {
  // actions: { send(text), stop(), changed(text), editLast() }
  constructor(actions) {
    this.actions = actions;
    this.input = $("prompt");
    this.busy = false;
    $("generate").append(icon("send"));
    $("stop").append(icon("stop"));
    $("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    $("stop").addEventListener("click", () => actions.stop());
    this.input.addEventListener("input", () => this.changed());
    this.input.addEventListener("keydown", (event) => this.onKey(event));
    this.input.value = sessionStorage.getItem(DRAFT) ?? "";
    describeKeys("Composer", [
      ["Enter", "Send"],
      ["Shift Enter", "Break the line"],
      ["↑", "Edit your last message, in an empty composer"],
      ["Esc", "Stop the answer"],
    ]);
    this.changed();
  }

  get value() {
    return this.input.value;
  }

  set value(text) {
    this.input.value = text;
    this.changed();
  }

  set mode(mode) {
    const [label, placeholder] = LABELS[mode];
    this.input.setAttribute("aria-label", label);
    this.input.placeholder = placeholder;
  }

  // Files alone are a message too.
  get isEmpty() {
    return !this.value.trim() && $("composer-attachments").hidden;
  }

  focus() {
    this.input.focus();
  }

  onKey(event) {
    // isComposing: Enter then accepts what an input method suggests.
    const isEnter = event.key === "Enter" && !event.shiftKey && !event.altKey;
    if (isEnter && !event.isComposing) {
      event.preventDefault();
      this.submit();
    }
    if (event.key === "ArrowUp" && !this.value) {
      event.preventDefault();
      this.actions.editLast();
    }
  }

  // The text leaves the field at once and returns if it was held back.
  async submit() {
    const text = this.value;
    if (this.busy || this.isEmpty) return;
    this.value = "";
    if (!(await this.actions.send(text)) && !this.value) this.value = text;
  }

  changed() {
    this.input.style.height = "auto";
    this.input.style.height = `${this.input.scrollHeight + 2}px`;
    sessionStorage.setItem(DRAFT, this.value);
    this.showState();
    this.actions.changed(this.value);
  }

  setBusy(busy) {
    const [gone, shown] = busy ? [$("generate"), $("stop")] : [$("stop"), $("generate")];
    const hadFocus = document.activeElement === gone;
    this.busy = busy;
    shown.hidden = false;
    shown.disabled = false;
    if (hadFocus) shown.focus(); // a button that is disabled loses the focus
    gone.hidden = true;
    gone.disabled = true;
    this.showState();
  }

  showState() {
    $("composer").classList.toggle("empty", this.isEmpty);
  }
}
