// How a reader trains a model: the commands, since the page of a server does not train.

import { copyText } from "../shared/clipboard.js";
import { el, iconButton } from "../shared/elements.js";
import { toast } from "../shared/toast.js";

const STEPS = [
  ["Train on a folder of texts for a minute", "ingot train my_texts/ --budget 60s --out runs/mine"],
  ["Watch it in a page like this one", "ingot train my_texts/ --budget 10m --watch 8080"],
  ["Freeze the best weights into one sealed folder", "ingot freeze runs/mine --out mine.ingot"],
  ["Serve it; this page then opens on it", "ingot serve mine.ingot"],
];

export const ownModel = () =>
  el(
    "details",
    { class: "own-model" },
    el("summary", {}, "Train, freeze and serve a model of your own"),
    el(
      "ol",
      {},
      STEPS.map(([what, command]) =>
        el(
          "li",
          {},
          what,
          el("span", { class: "command" }, el("code", {}, command), copy(command)),
        ),
      ),
    ),
  );

const copy = (command) =>
  iconButton(`Copy ${command}`, "copy", async () => {
    await copyText(command);
    toast("Copied.");
  });
