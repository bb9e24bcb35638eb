// Copying text. A page that came over plain http from another machine has no clipboard of its own.

export async function copyText(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const field = document.createElement("textarea");
  const focused = document.activeElement;
  field.value = text;
  field.className = "visually-hidden";
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  focused?.focus();
  if (!copied) throw new Error("This browser does not let the page copy text.");
}

const SHOWN_MS = 1500;

// Copies, and shows on the button that it was done.
export async function copyWith(button, text) {
  await copyText(text);
  button.classList.add("done");
  setTimeout(() => button.classList.remove("done"), SHOWN_MS);
}
