// An answer token by token, each with its probability and what else the model considered.

import { el } from "../shared/elements.js";
import * as format from "../shared/format.js";

const LEVELS = [0.9, 0.5, 0.2, 0.05]; // a token at or above the first has level 0

export class TokenView {
  constructor() {
    this.tokens = []; // [span, token] for each token with a probability
    this.pending = document.createDocumentFragment();
    this.text = el("div", {
      class: "text tokens",
      tabindex: "0",
      role: "group",
      "aria-label": "Answer; arrow keys move from token to token",
    });
    this.probabilities = el("p", { class: "probabilities", role: "status", hidden: true });
    this.element = el("div", { class: "token-view" }, this.text, this.probabilities);
    this.text.addEventListener("pointerover", (event) => this.onPointer(event.target));
    this.text.addEventListener("pointerleave", () => this.select(-1));
    this.text.addEventListener("blur", () => this.select(-1));
    this.text.addEventListener("keydown", (event) => this.onKey(event));
    this.selected = -1;
  }

  // Adds [[text, token or null], …]; they are shown by the next flush.
  add(pieces) {
    for (const [piece, token] of pieces) {
      if (!token) {
        this.pending.append(piece);
        continue;
      }
      const level = LEVELS.findIndex((least) => Math.exp(token.logprob) >= least);
      const name = `level-${level < 0 ? LEVELS.length : level}`;
      const span = el("span", { class: `token ${name}` }, piece);
      span.dataset.index = this.tokens.push([span, token]) - 1;
      this.pending.append(span);
    }
  }

  flush() {
    if (this.pending.childNodes.length) this.text.append(this.pending);
  }

  onPointer(target) {
    this.select(Number(target.dataset?.index ?? -1));
  }

  onKey(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !this.tokens.length) return;
    event.preventDefault();
    this.select(Math.min(Math.max(this.selected + step, 0), this.tokens.length - 1));
  }

  select(index) {
    if (this.selected >= 0) this.tokens[this.selected]?.[0].classList.remove("selected");
    this.selected = index;
    this.probabilities.hidden = index < 0;
    if (index < 0) return;
    const [span, token] = this.tokens[index];
    span.classList.add("selected");
    const labelled = ([text, logprob]) => [
      el("code", {}, format.token(text)),
      ` ${format.percent(Math.exp(logprob))} `,
    ];
    const alternatives = token.top
      .filter(([text]) => text !== span.textContent)
      .map((each) => el("span", { class: "alternative" }, labelled(each)));
    this.probabilities.replaceChildren(
      el("strong", {}, labelled([span.textContent, token.logprob])),
      ...(alternatives.length ? ["instead of ", ...alternatives] : []),
    );
  }
}
