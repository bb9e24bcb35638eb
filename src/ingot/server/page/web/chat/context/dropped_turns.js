// The looks of turns that are no longer sent: faded, with a line below the last of them.

import { button, el } from "../../shared/elements.js";
import { firstSent } from "./dropping.js";

// Keeps the messages of `chat` looking like what is sent.
export function markDropped(chat) {
  const shown = new Map(); // { element, footer } by node id
  const show = () => {
    const nodes = chat.current ? chat.path() : [];
    const first = firstSent(nodes);
    nodes.forEach((node, index) => {
      const parts = shown.get(node.id);
      if (!parts) return;
      parts.element.classList.toggle("dropped", index < first);
      parts.line.hidden = index !== first - 1;
    });
  };
  chat.decorate((node, { element, footer }) => {
    const line = el(
      "p",
      { class: "dropped-line", hidden: true },
      "The turns up to here are no longer sent. ",
      button("Send them again", () => sendAgain(chat), { class: "quiet" }),
    );
    footer.append(line);
    shown.set(node.id, { element, line });
  });
  chat.on("conversation", show);
}

function sendAgain(chat) {
  for (const node of chat.path()) node.dropped = undefined;
  chat.changed();
}
