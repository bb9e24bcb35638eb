// The view of one answer: as Markdown, or token by token; and one line of figures.

import { el, figure, paced } from "../shared/elements.js";
import * as format from "../shared/format.js";
import { MarkdownDocument } from "./markdown/document.js";
import { TokenAligner } from "./token_stream.js";
import { TokenView } from "./token_view.js";

export class AnswerView {
  // `form` is "markdown", or "tokens" for a text that is not Markdown, such as a continued prompt.
  constructor(form, text = "") {
    this.ownForm = form;
    this.source = text;
    this.pieces = []; // [text, token or null] of what was streamed
    this.before = text; // what there was before it
    this.aligner = new TokenAligner();
    this.prose = el("div", { class: "text prose" });
    this.markdown = null;
    this.tokenView = null;
    this.figures = el("details", { class: "figures-line", hidden: true });
    this.element = el("div", { class: "answer" });
    this.isBusy = false;
    this.onFlush = () => {};
    this.flushSoon = paced(() => this.flush());
    this.show(form);
  }

  // Shows the answer in a form. Probabilities are known of what this page has seen arrive.
  show(form) {
    this.form = form;
    if (form === "tokens") {
      this.tokenView = new TokenView();
      this.tokenView.add([[this.before, null], ...this.pieces]);
    } else this.markdown ??= new MarkdownDocument(this.prose);
    this.element.replaceChildren(
      form === "tokens" ? this.tokenView.element : this.prose,
      this.figures,
    );
    this.flush();
    this.busy = this.isBusy;
  }

  // Whether each token is shown in the colour of its probability.
  get isTinted() {
    return this.element.classList.contains("tinted");
  }

  set isTinted(value) {
    this.element.classList.toggle("tinted", value);
    this.show(value ? "tokens" : this.ownForm);
  }

  get hasTokens() {
    return this.pieces.some(([, token]) => token);
  }

  get text() {
    return this.form === "tokens" ? this.tokenView.text : this.prose;
  }

  set busy(value) {
    this.isBusy = value;
    this.text.setAttribute("aria-busy", String(value));
    if (!value) this.flush();
  }

  add(text, tokens) {
    const pieces = this.aligner.push(text, tokens);
    this.source += text;
    for (const piece of pieces) this.pieces.push(piece);
    if (this.form === "tokens") this.tokenView.add(pieces);
    this.flushSoon(); // at most one change of the document per frame, however fast tokens arrive
  }

  flush() {
    if (this.form === "tokens") this.tokenView.flush();
    else this.markdown.update(this.source, !this.isBusy);
    this.onFlush();
  }

  // One quiet line that opens. `identity` is { model, digest }, where they are known.
  showFigures(measured, identity = {}) {
    if (!measured) return;
    const { first, speed, tokens, prompt, cached, accepted, rejected, joules } = measured;
    const known = Number.isFinite;
    const line = [
      known(tokens) && `${format.whole(tokens)} tokens`,
      known(speed) && `${format.short(speed)} tokens/s`,
      known(first) && `first after ${format.seconds(first)}`,
      known(measured.cost) && costOf(measured),
    ];
    const shown = [
      ["First token", known(first) && format.seconds(first)],
      ["Tokens/s", known(speed) && format.short(speed)],
      ["Tokens", known(tokens) && format.whole(tokens)],
      ["Prompt tokens", known(prompt) && format.whole(prompt)],
      ["From the cache", known(cached) && format.whole(cached)],
      ["Draft tokens accepted", accepted + rejected > 0 && `${accepted} of ${accepted + rejected}`],
      ["Cost", known(measured.cost) && costOf(measured)],
      ["Energy", known(joules) && `${format.short(joules)} J`],
      ["Weights", identity.digest && `${identity.model}, ${format.digest(identity.digest)}`],
    ];
    this.figures.hidden = false;
    this.figures.replaceChildren(
      el("summary", {}, line.filter(Boolean).join(" · ")),
      el(
        "dl",
        { class: "figures small" },
        shown.filter(([, value]) => value).map(([name, value]) => figure(name, value)),
      ),
    );
  }
}

const costOf = ({ cost, currency }) => [format.short(cost), currency].filter(Boolean).join(" ");
