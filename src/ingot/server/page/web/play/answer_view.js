// The view of one answer: its text, token by token with probabilities, and its speed.

import { el, figure, oncePerFrame } from "../shared/elements.js";
import * as format from "../shared/format.js";
import { TokenAligner } from "./token_stream.js";

const LEVELS = [0.9, 0.5, 0.2, 0.05]; // a token at or above the first has level 0

export class AnswerView {
  constructor() {
    this.tokens = []; // [span, token] for each token with a probability
    this.aligner = new TokenAligner();
    this.pending = document.createDocumentFragment();
    this.flushSoon = oncePerFrame(() => this.flush());
    this.text = el("div", {
      class: "text",
      tabindex: "0",
      role: "group",
      "aria-label": "Answer; arrow keys move from token to token",
    });
    this.probabilities = el("p", { class: "probabilities", role: "status", hidden: true });
    this.figures = el("dl", { class: "figures small" });
    this.element = el("div", { class: "answer" }, this.text, this.probabilities, this.figures);
    this.text.addEventListener("pointerover", (event) => this.onPointer(event.target));
    this.text.addEventListener("pointerleave", () => this.select(-1));
    this.text.addEventListener("blur", () => this.select(-1));
    this.text.addEventListener("keydown", (event) => this.onKey(event));
    this.selected = -1;
  }

  // An answer from a stored conversation: only its text is known.
  static of(text) {
    const view = new AnswerView();
    view.text.append(text);
    return view;
  }

  set busy(value) {
    this.text.setAttribute("aria-busy", String(value));
  }

  add(text, tokens) {
    for (const [piece, token] of this.aligner.push(text, tokens)) {
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
    this.flushSoon(); // one change of the document per frame, however fast tokens arrive
  }

  flush() {
    if (this.pending.childNodes.length) this.text.append(this.pending);
  }

  // ---- Probabilities of the selected token and of its alternatives

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

  // ---- Speed

  showFigures({ first, speed, tokens, cached, speculation, model, digest }) {
    const accepted = speculation?.accepted_prediction_tokens ?? 0;
    const drafted = accepted + (speculation?.rejected_prediction_tokens ?? 0);
    const shown = [
      ["First token", first === null ? "–" : format.seconds(first)],
      ["Tokens/s", speed === null ? "–" : format.short(speed)],
      ["Tokens", format.whole(tokens)],
      ["From the cache", cached === null ? "–" : format.whole(cached)],
      ["Weights", `${model}, ${format.digest(digest)}`],
    ];
    if (drafted) {
      const share = `${format.whole(accepted)} of ${format.whole(drafted)}`;
      shown.splice(4, 0, ["Draft tokens accepted", share]);
    }
    this.figures.replaceChildren(...shown.map(([name, value]) => figure(name, value)));
  }
}

// Time to the first token, and tokens per second from then on: the wait is not part of the speed.
export class TokenClock {
  constructor() {
    this.start = performance.now();
    this.firstAt = null;
    this.lastAt = null;
    this.tokens = 0;
    this.firstTokens = 0;
  }

  add(count) {
    this.lastAt = performance.now();
    this.tokens += count;
    if (this.firstAt === null) {
      this.firstAt = this.lastAt;
      this.firstTokens = count;
    }
  }

  get first() {
    return this.firstAt === null ? null : (this.firstAt - this.start) / 1000;
  }

  get speed() {
    const seconds = (this.lastAt - this.firstAt) / 1000;
    const later = this.tokens - this.firstTokens;
    return seconds > 0 && later > 0 ? later / seconds : null;
  }
}
