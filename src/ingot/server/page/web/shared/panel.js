// A panel at the side: part of the layout where there is space, else above everything, modal.

const FOCUSABLE = "button, input, select, textarea, a[href], summary";

export class Panel {
  // `wide`: the media query for which there is space beside the content. `others`: elements that
  // are out of reach while the panel lies above them.
  constructor(element, toggle, { wide, others, open }) {
    this.element = element;
    this.toggleButton = toggle;
    this.others = others;
    this.media = matchMedia(wide);
    this.backdrop = document.createElement("div");
    this.backdrop.className = "backdrop";
    this.backdrop.hidden = true;
    element.after(this.backdrop);
    toggle.addEventListener("click", () => this.toggle());
    this.backdrop.addEventListener("click", () => this.close());
    this.media.addEventListener("change", () => this.show(this.media.matches && this.isOpen));
    element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || this.media.matches) return;
      event.stopPropagation();
      this.close();
    });
    this.show(open && this.media.matches);
  }

  get isModal() {
    return this.isOpen && !this.media.matches;
  }

  show(open) {
    this.isOpen = open;
    this.element.hidden = !open;
    this.toggleButton.setAttribute("aria-expanded", String(open));
    this.backdrop.hidden = !this.isModal;
    for (const other of this.others) other.inert = this.isModal;
  }

  open() {
    this.show(true);
    if (this.isModal) this.element.querySelector(FOCUSABLE)?.focus();
  }

  close() {
    this.show(false);
    this.toggleButton.focus();
  }

  toggle() {
    if (this.isOpen) this.close();
    else this.open();
  }
}
