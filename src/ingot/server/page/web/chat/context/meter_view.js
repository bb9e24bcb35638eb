// The looks of the context meter: a ring, its figures, and the notice before the context is full.

import { button, el, oncePerFrame } from "../../shared/elements.js";
import * as format from "../../shared/format.js";
import * as models from "../../shared/models.js";

const SVG = "http://www.w3.org/2000/svg";
const RADIUS = 7;

export class MeterView {
  // actions: { drop(), begin() }
  constructor(chat, actions) {
    this.chat = chat;
    this.actions = actions;
    this.state = null; // what judge() said, with the figures; null while they are unknown
    this.drawSoon = oncePerFrame(() => this.draw()); // tokens may arrive faster than frames
    this.ring = ring();
    this.text = el("span", {}, "–");
    const name = el("span", { class: "meter-name" }, "Context");
    this.panel = el("div", {
      ...{ id: "context-panel", class: "popover", popover: "auto" },
      ...{ role: "dialog", "aria-label": "Context" },
    });
    this.chip = el(
      "button",
      {
        ...{ type: "button", id: "context-meter", class: "chip context-meter" },
        ...{ popovertarget: "context-panel", "aria-label": "Context" },
      },
      this.ring,
      name,
      this.text,
    );
    this.notice = el("div", { id: "context-notice", class: "dock-notice", role: "status" });
    this.notice.hidden = true;
    chat.slots.tools.append(this.chip);
    document.body.append(this.panel);
    chat.slots.composer.before(this.notice);
    this.panel.addEventListener("beforetoggle", ({ newState }) => {
      if (newState === "open") this.fillPanel();
    });
    this.show(null);
  }

  show(state) {
    this.state = state;
    this.drawSoon();
  }

  draw() {
    const { share, level, used, limit } = this.state ?? { share: 0, level: "free" };
    const isKnown = this.state !== null;
    const whole = isKnown && `${format.whole(used)} of ${format.whole(limit)} tokens`;
    const label = isKnown ? `Context: ${whole}` : "Context: not counted yet";
    this.ring.lastChild.setAttribute("stroke-dasharray", `${Math.round(share * 100)} 100`);
    this.chip.dataset.level = level;
    this.chip.setAttribute("aria-label", label);
    this.chip.title = label;
    this.text.textContent = isKnown ? format.percent(share) : "–";
    this.drawNotice(level);
    if (this.panel.matches(":popover-open")) this.fillPanel();
  }

  drawNotice(level) {
    const said = level === "short" || level === "full" ? sentence(this.state) : "";
    if (said && said !== this.said) {
      this.notice.replaceChildren(el("p", {}, said), this.choices(true));
    }
    this.said = said;
    this.notice.hidden = !said;
  }

  fillPanel() {
    const unknown = [el("h3", {}, "Context"), el("p", {}, "It was not counted yet.")];
    this.panel.replaceChildren(...(this.state ? this.figures(this.state) : unknown));
  }

  figures({ used, answer, limit, left }) {
    const row = (name, value) => [el("dt", {}, name), el("dd", {}, format.whole(value))];
    return [
      el("h3", {}, "Context"),
      el(
        "dl",
        { class: "plain-figures" },
        row("Conversation and message", used),
        row("Left", left),
        row("Longest answer", Math.min(answer, limit)),
        row("Limit", limit),
      ),
      el(
        "p",
        { class: "help" },
        "All in tokens, counted by the server. When it is full nothing is dropped by itself: a message that does not fit is held back, and you choose what happens.",
      ),
      this.choices(),
      el("p", { class: "help" }, raising(models.current(), this.facts)),
    ];
  }

  choices(withRaise = false) {
    const small = { class: "small" };
    const isChat = this.chat.current?.mode === "chat";
    return el(
      "div",
      { class: "toolbar" },
      isChat ? button("Drop the oldest turns", () => this.actions.drop(), small) : null,
      button("New conversation", () => this.actions.begin(), small),
      withRaise ? button("Raise the limit", () => this.panel.showPopover(), small) : null,
    );
  }
}

function sentence({ level, used, left, limit }) {
  const filled = `${format.whole(used)} of ${format.whole(limit)} tokens`;
  if (level === "full") return `The context is full (${filled}): the next message cannot be sent.`;
  return `The context is almost full (${filled}): the next answer ends after ${format.whole(left)} tokens.`;
}

// Says how the limit is raised, or that it cannot be.
export function raising(model, facts) {
  const trained = facts?.config?.max_position_embeddings;
  if (!model || !trained) return "";
  const [served, most] = [format.whole(model.max_model_len), format.whole(trained)];
  if (trained > model.max_model_len) {
    return `Raise the limit: ${served} of the model’s ${most} tokens are served. Start the server with --set engine.max_context=${trained}, or without that setting.`;
  }
  return `The limit cannot be raised: the model was made for ${most} tokens of context.`;
}

function ring() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("class", "ring");
  svg.setAttribute("aria-hidden", "true");
  for (const name of ["track", "filled"]) {
    const circle = document.createElementNS(SVG, "circle");
    for (const [key, value] of Object.entries({ cx: 10, cy: 10, r: RADIUS, pathLength: 100 })) {
      circle.setAttribute(key, value);
    }
    circle.setAttribute("class", name);
    svg.append(circle);
  }
  return svg;
}
