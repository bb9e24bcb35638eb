// Style sheets of single views, fetched when their view is first opened.

import { el } from "./elements.js";

const loads = new Map(); // promise by address

// Returns a promise that is settled once the sheet applies, or cannot be had.
export function loadStyles(address) {
  if (!loads.has(address)) {
    loads.set(
      address,
      new Promise((resolve) => {
        const on = { load: resolve, error: resolve };
        document.head.append(el("link", { rel: "stylesheet", href: `page/${address}`, on }));
      }),
    );
  }
  return loads.get(address);
}
