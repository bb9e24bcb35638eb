// What stands below the lesson's last screen: its end, and where the reader may go from here.

import { el } from "../shared/elements.js";

const PLACES = [
  ["#phases", "Two phases", "the whole lesson as one moving picture"],
  ["#chat", "Chat", "talk to the model that was just measured"],
  ["#serve", "Serve", "watch the engine while it answers"],
  ["#train", "Train", "how this model was trained, and how to train one"],
];

export const finish = () =>
  el(
    "section",
    { class: "finish" },
    el("h3", {}, "That was the lesson"),
    el(
      "ul",
      {},
      PLACES.map(([href, name, what]) => el("li", {}, el("a", { href }, name), `: ${what}`)),
    ),
  );
