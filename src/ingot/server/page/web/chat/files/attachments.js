// A feature: files that are dropped, pasted or chosen become part of the message as text.

import { el, iconButton } from "../../shared/elements.js";
import * as format from "../../shared/format.js";
import { countText } from "../context/count.js";
import { ACCEPTED, message, prefix, readText } from "./reading.js";

const LONG = 2000; // characters of a message that scrolls by itself

let files = []; // [{ name, text, bytes, tokens }]; tokens are null until they are counted

// Returns the message that would be sent with this text.
export function withFiles(chat, text) {
  if (!files.length) return text;
  return chat.current.mode === "chat" ? message(text, files) : prefix(text, files);
}

export function install(chat) {
  const row = chat.slots.attachments;
  const input = el("input", {
    ...{ id: "files", class: "visually-hidden", type: "file", tabindex: "-1" },
    ...{ accept: ACCEPTED, multiple: true, "aria-label": "Files" },
  });
  const attach = iconButton("Attach files as text", "attach", () => input.click(), {
    id: "attach",
  });
  chat.slots.tools.prepend(attach, input);

  const changed = () => {
    row.hidden = !files.length;
    row.replaceChildren(...files.map((file) => chip(file, remove)));
    chat.emit("draft", chat.draft());
  };
  const remove = (file) => {
    files = files.filter((each) => each !== file);
    changed();
    attach.focus();
  };
  const add = async (list) => {
    for (const each of list) {
      try {
        const file = { ...(await readText(each, files)), tokens: null };
        files = [...files, file];
        changed();
        file.tokens = await countText(file.text).catch(() => null);
        changed();
      } catch (error) {
        chat.notify(error.message, { error: true });
        return;
      }
    }
  };
  input.addEventListener("change", async () => {
    await add([...input.files]);
    input.value = "";
  });
  takeDrops(chat, add);
  chat.decorate(scrollLong);
  let sent = null; // the message of the last attempt to send
  chat.beforeSend((draft) => {
    draft.text = withFiles(chat, draft.text);
    sent = draft.text;
    return true;
  });
  // They are part of the message once it is in the conversation.
  chat.on("busy", (busy) => {
    if (!busy || !files.length || !chat.path().some(({ text }) => text === sent)) return;
    files = [];
    changed();
  });
}

// A message with whole files in it does not push the conversation away.
function scrollLong(node, { element }) {
  if (node.role !== "user" || node.text.length < LONG) return;
  const text = element.querySelector(".text");
  text.classList.add("long");
  text.tabIndex = 0; // so that the keyboard can scroll it
  text.setAttribute("role", "group");
  text.setAttribute("aria-label", "Your message");
}

function chip(file, remove) {
  const counted = file.tokens === null ? "counting…" : `${format.whole(file.tokens)} tokens`;
  return el(
    "span",
    { class: "attachment" },
    el("span", { class: "attachment-name", title: file.name }, file.name),
    el("span", { class: "attachment-tokens" }, counted),
    iconButton(`Remove ${file.name}`, "close", () => remove(file)),
  );
}

function takeDrops(chat, add) {
  const place = chat.slots.composer.closest(".conversation");
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  place.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    place.classList.add("dropping");
  });
  place.addEventListener("dragleave", (event) => {
    if (!place.contains(event.relatedTarget)) place.classList.remove("dropping");
  });
  place.addEventListener("drop", (event) => {
    place.classList.remove("dropping");
    if (!hasFiles(event)) return;
    event.preventDefault();
    add([...event.dataTransfer.files]);
  });
  chat.slots.composer.addEventListener("paste", (event) => {
    const pasted = [...(event.clipboardData?.files ?? [])];
    if (!pasted.length) return;
    event.preventDefault();
    add(pasted);
  });
}
