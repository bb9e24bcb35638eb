// Short messages at the lower edge, each with an action such as Undo.

import { $, button, el } from "./elements.js";

const SHOWN_MS = 10_000;

// Shows `text` for ten seconds, longer while it is pointed at or has the focus. `actions`:
// [[label, callback], …]; each also closes the message.
export function toast(text, actions = []) {
  const close = () => element.remove();
  const buttons = actions.map(([label, run]) =>
    button(label, () => {
      close();
      run();
    }),
  );
  const element = el("div", { class: "toast" }, el("span", {}, text), buttons);
  const wait = () =>
    setTimeout(() => {
      if (element.matches(":hover, :focus-within")) wait();
      else close();
    }, SHOWN_MS);
  $("toasts").append(element);
  wait();
}
