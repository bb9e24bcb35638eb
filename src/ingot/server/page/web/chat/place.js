// The reader's place: a question goes to the top of the view and its answer grows below it. The
// text that is being read never moves by itself; a button leads to the newest text and follows it.

const MARGIN = 16; // px above a question
const MAX_SHARE = 0.4; // of the height that a long question may take

export class Place {
  constructor(scroller, toEnd) {
    this.scroller = scroller;
    this.toEnd = toEnd;
    this.following = false;
    this.end = null; // the element whose end is the newest text
    this.reserved = null; // the answer that keeps space below its question
    this.watcher = new IntersectionObserver(([entry]) => this.onEnd(entry), { root: scroller });
    toEnd.addEventListener("click", () => this.follow());
    for (const event of ["wheel", "touchmove", "keydown"]) {
      scroller.addEventListener(event, () => this.leave(), { passive: true });
    }
  }

  // Watches the end of the last message.
  watch(element) {
    if (element === this.end) return;
    this.watcher.disconnect();
    this.end = element;
    if (element) this.watcher.observe(element);
    else this.toEnd.hidden = true;
  }

  onEnd({ isIntersecting, boundingClientRect, rootBounds }) {
    const isBelow = rootBounds && boundingClientRect.top > rootBounds.bottom - 1;
    this.toEnd.hidden = isIntersecting || !isBelow;
  }

  // Brings a new question to the top, and reserves the space below it for the answer.
  ask(question, answer) {
    if (this.reserved) this.reserved.style.minHeight = "";
    this.reserved = answer;
    const { clientHeight } = this.scroller;
    const visible = Math.min(question.offsetHeight, clientHeight * MAX_SHARE);
    answer.style.minHeight = `${Math.max(0, clientHeight - visible - 4 * MARGIN)}px`;
    const top = this.scroller.getBoundingClientRect().top;
    const end = question.getBoundingClientRect().bottom - top;
    this.following = false;
    this.scroller.scrollTop += end - visible - MARGIN;
  }

  // Shows the end of a conversation that was opened.
  showEnd() {
    if (this.reserved) this.reserved.style.minHeight = "";
    this.reserved = null;
    // Without messages there is the welcome, which is read from its top.
    this.scroller.scrollTop = this.end ? this.scroller.scrollHeight : 0;
  }

  follow() {
    this.following = true;
    this.grew();
    this.toEnd.hidden = true;
  }

  leave() {
    this.following = false;
  }

  // New text was shown.
  grew() {
    if (!this.following || !this.end) return;
    const edge = this.scroller.getBoundingClientRect().bottom;
    const below = this.end.getBoundingClientRect().bottom - edge + MARGIN;
    if (below > 0) this.scroller.scrollTop += below;
  }
}
