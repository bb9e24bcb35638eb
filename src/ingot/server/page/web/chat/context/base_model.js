// A feature: says of a model that was not trained on conversations what it does instead.

import { button, el } from "../../shared/elements.js";
import * as models from "../../shared/models.js";

export function install(chat) {
  const notice = el("div", { id: "base-model", class: "soft-notice", hidden: true });
  chat.slots.notices.append(notice);
  const show = async () => {
    const model = models.current();
    const facts = model ? await models.facts(model).catch(() => null) : null;
    if (model !== models.current() || !chat.current) return;
    notice.hidden = !facts || facts.chat;
    if (notice.hidden) return;
    const isChat = chat.current.mode === "chat";
    const text = isChat
      ? `${model.id} is a base model: it continues text and has not seen conversations. It may carry on with a question instead of answering it.`
      : `${model.id} is a base model: it continues the text that you give it.`;
    const other = () => chat.select(chat.begin("prompt"));
    notice.replaceChildren(
      el("p", {}, text),
      isChat ? button("Continue a text instead", other, { class: "small" }) : "",
    );
  };
  models.onChange(show);
  chat.on("conversation", show);
  show();
}
