// The lesson's weight as the bits that are stored, under a digest. One flipped bit gives another.

import { button, el } from "../shared/elements.js";
import { exact } from "./one_weight.js";

const BITS = 64;

// weight: the number that is sealed. Returns null where the browser computes no digest (it needs
// https, or this machine's own name).
export function sealedBit(weight) {
  if (!crypto.subtle) return null;
  const bytes = new DataView(new ArrayBuffer(BITS / 8));
  bytes.setFloat64(0, weight);
  const cells = Array.from({ length: BITS }, () => el("i", {}));
  const picture = el("div", { class: "bits", role: "img", "aria-label": "The bits of the copy" });
  picture.append(...cells);
  const shown = el("div", { role: "status" });
  let sealed = null;
  const show = async (flipped) => {
    for (const [index, cell] of cells.entries()) {
      cell.className = isSet(bytes, index) ? "set" : "";
      if (index === flipped) cell.classList.add("flipped");
    }
    const now = await sha256(bytes.buffer);
    sealed ??= now;
    const verdict =
      now === sealed
        ? "The digests are equal: it is loaded."
        : "The digests differ: it is refused.";
    shown.replaceChildren(
      line("The copy holds", exact(bytes.getFloat64(0))),
      line("Digest when sealed", sealed.slice(0, 16)),
      line("Digest of the copy", now.slice(0, 16)),
      el("p", { class: "verdict" }, verdict),
    );
  };
  const flip = () => {
    bytes.setFloat64(0, weight); // one bit, not one more
    const index = Math.floor(Math.random() * BITS);
    bytes.setUint8(index >> 3, bytes.getUint8(index >> 3) ^ (128 >> (index & 7)));
    show(index);
  };
  const mend = () => {
    bytes.setFloat64(0, weight);
    show(null);
  };
  mend();
  return el(
    "div",
    { class: "experiment" },
    el("p", { class: "help" }, `The lesson’s weight, in its ${BITS} bits`),
    picture,
    el(
      "div",
      { class: "toolbar" },
      button("Flip one bit", flip, { class: "primary" }),
      button("As it was sealed", mend),
    ),
    shown,
  );
}

const isSet = (bytes, index) => bytes.getUint8(index >> 3) & (128 >> (index & 7));

const line = (name, value) =>
  el("p", { class: "bit-line" }, el("span", { class: "help" }, name), el("code", {}, value));

async function sha256(buffer) {
  const digest = await crypto.subtle.digest("SHA-256", buffer);
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
