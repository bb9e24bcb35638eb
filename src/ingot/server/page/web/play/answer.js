// One answer on the page: its text, token by token with their odds, and how fast it came.

import { el, figure, oncePerFrame } from "../dom.js";
import * as format from "../format.js";
import { Splitter } from "./tokens.js";

const LEVELS = [0.9, 0.5, 0.2, 0.05]; // how sure: above the first is level 0

export class AnswerView {
  constructor() {
    this.tokens = []; // [span, token] of each that has odds
    this.splitter = new Splitter();
    this.pending = document.createDocumentFragment();
    this.show = oncePerFrame(() => this.flush());
    this.text = el("div", { class: "text", tabindex: "0", role: "group", "aria-label": "Answer; arrow keys go from token to token" });
    this.odds = el("p", { class: "odds", role: "status", hidden: true });
    this.figures = el("dl", { class: "figures small" });
    this.element = el("div", { class: "answer" }, this.text, this.odds, this.figures);
    this.text.addEventListener("pointerover", (event) => this.pointAt(event.target));
    this.text.addEventListener("pointerleave", () => this.select(-1));
    this.text.addEventListener("blur", () => this.select(-1));
    this.text.addEventListener("keydown", (event) => this.onKey(event));
    this.selected = -1;
  }

  // An answer of before: only its text is known.
  static of(text) {
    const view = new AnswerView();
    view.text.append(text);
    return view;
  }

  set busy(value) {
    this.text.setAttribute("aria-busy", String(value));
  }

  add(text, tokens) {
    for (const [piece, token] of this.splitter.push(text, tokens)) {
      if (!token) {
        this.pending.append(piece);
        continue;
      }
      const level = LEVELS.findIndex((least) => Math.exp(token.logprob) >= least);
      const span = el("span", { class: `token sure-${level < 0 ? LEVELS.length : level}` }, piece);
      span.dataset.place = this.tokens.push([span, token]) - 1;
      this.pending.append(span);
    }
    this.show();
  }

  flush() {
    if (this.pending.childNodes.length) this.text.append(this.pending);
  }

  // ---- What else could have come

  pointAt(target) {
    const place = target.dataset?.place;
    this.select(place === undefined ? -1 : Number(place));
  }

  onKey(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !this.tokens.length) return;
    event.preventDefault();
    this.select(Math.min(Math.max(this.selected + step, 0), this.tokens.length - 1));
  }

  select(place) {
    if (this.selected >= 0) this.tokens[this.selected]?.[0].classList.remove("selected");
    this.selected = place;
    this.odds.hidden = place < 0;
    if (place < 0) return;
    const [span, token] = this.tokens[place];
    span.classList.add("selected");
    const chance = ([text, logprob]) => [el("code", {}, format.token(text)), ` ${format.share(Math.exp(logprob))} `];
    const others = token.top.filter(([text]) => text !== span.textContent);
    this.odds.replaceChildren(
      el("strong", {}, chance([span.textContent, token.logprob])),
      ...(others.length ? ["instead of ", ...others.map((other) => el("span", { class: "other" }, chance(other)))] : []),
    );
  }

  // ---- How fast

  showFigures({ first, speed, tokens, cached, guesses, model, digest }) {
    const accepted = guesses?.accepted_prediction_tokens ?? 0;
    const guessed = accepted + (guesses?.rejected_prediction_tokens ?? 0);
    const shown = [
      ["First token", first === null ? "–" : format.seconds(first)],
      ["Tokens/s", speed === null ? "–" : format.short(speed)],
      ["Tokens", format.whole(tokens)],
      ["From the cache", cached === null ? "–" : format.whole(cached)],
      ...(guessed ? [["Guesses accepted", `${format.whole(accepted)} of ${format.whole(guessed)}`]] : []),
      ["Weights", `${model}, ${format.digest(digest)}`],
    ];
    this.figures.replaceChildren(...shown.map(([name, value]) => figure(name, value)));
  }
}

// Speed counts from the first token on, so that it does not mix in the wait for it.
export class Clock {
  constructor() {
    this.start = performance.now();
    this.firstAt = this.lastAt = null;
    this.tokens = 0;
    this.firstTokens = 0;
  }

  tick(count) {
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
    const spent = (this.lastAt - this.firstAt) / 1000;
    return spent > 0 && this.tokens > this.firstTokens ? (this.tokens - this.firstTokens) / spent : null;
  }
}
