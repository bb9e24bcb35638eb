// A feature: how full the context is, what happens when it is full, and what one can do then.

import { explain } from "../../shared/api.js";
import * as format from "../../shared/format.js";
import * as models from "../../shared/models.js";
import { withFiles } from "../files/attachments.js";
import { judge, roomFor } from "./budget.js";
import { countNext } from "./count.js";
import { markDropped } from "./dropped_turns.js";
import { cuts, fewest, withoutDropped } from "./dropping.js";
import { MeterView } from "./meter_view.js";

const PAUSE_MS = 500; // of typing, before the message is counted

class Meter {
  constructor(chat) {
    this.chat = chat;
    this.used = null; // tokens of the next prompt; null while they are unknown
    this.view = new MeterView(chat, {
      drop: () => this.drop(),
      begin: () => chat.select(chat.begin(chat.current.mode)),
    });
    this.timer = null;
    this.asking = new AbortController();
    chat.transform((body, { messages, conversation }) => {
      if (conversation.mode === "chat") body.messages = withoutDropped(body.messages, messages);
    });
    chat.beforeSend((draft) => this.hold(draft));
    for (const event of ["conversation", "draft", "settings", "model"]) {
      chat.on(event, () => this.countSoon());
    }
    chat.on("stream", ({ node, event }) => node === chat.path().at(-1) && this.follow(event));
    chat.on("model", async (model) => {
      this.view.facts = await models.facts(model).catch(() => null);
    });
    chat.on("answered", () => this.countSoon(0));
    markDropped(chat);
  }

  get limit() {
    return models.current()?.max_model_len ?? null;
  }

  // The longest answer, in tokens; without a maximum it may fill the context.
  get answer() {
    return Number(this.chat.settings()["max-tokens"]) || this.limit;
  }

  countSoon(pause = PAUSE_MS) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.count(), pause);
  }

  async count() {
    if (this.chat.isBusy || !this.chat.current) return;
    this.asking.abort();
    this.asking = new AbortController();
    const { signal } = this.asking;
    try {
      const used = await countNext(this.chat, withFiles(this.chat, this.chat.draft()), { signal });
      if (!signal.aborted && !this.chat.isBusy) this.show(used);
    } catch {
      if (!signal.aborted) this.show(null); // the request itself will say what is wrong
    }
  }

  // While an answer arrives its tokens are counted as they come; the last event has the sum.
  follow({ usage, choices }) {
    if (usage) return this.show(usage.total_tokens);
    const new_ = choices.reduce((sum, { logprobs }) => {
      return sum + (logprobs?.content?.length ?? logprobs?.tokens?.length ?? 0);
    }, 0);
    if (this.used !== null && new_) this.show(this.used + new_);
    return undefined;
  }

  show(used) {
    this.used = used;
    if (used === null || !this.limit) return this.view.show(null);
    const { answer, limit } = this;
    return this.view.show({ used, answer, limit, ...judge({ used, answer, limit }) });
  }

  // Holds back a message that the server would refuse, and says why.
  async hold(draft) {
    let used;
    try {
      used = await countNext(this.chat, draft.text);
    } catch {
      return true; // the server says what is wrong, in its own words
    }
    this.show(used);
    if (used < this.limit) return true;
    const said = `This message was not sent: with it there are ${format.whole(used)} tokens, and the context holds ${format.whole(this.limit)}, the answer included.`;
    this.chat.notify(said, { error: true });
    return false;
  }

  // Drops the oldest turns until the next message and its answer fit.
  async drop() {
    const { chat } = this;
    const text = withFiles(chat, chat.draft());
    const nodes = chat.path();
    const most = this.limit - roomFor(this.answer, this.limit);
    const fits = async (number) =>
      (await countNext(chat, text, { nodes: nodes.slice(number) })) <= most;
    try {
      const numbers = cuts(nodes, Boolean(text));
      const number = (await fewest(numbers, fits)) ?? numbers.at(-1);
      if (!number) {
        chat.notify("There is no older turn to drop: the last one fills the context.", {
          error: true,
        });
        return;
      }
      nodes[number - 1].dropped = true;
      chat.changed();
      const turns = nodes.slice(0, number).filter(({ role }) => role === "user").length;
      chat.notify(`${turns === 1 ? "One turn is" : `${turns} turns are`} no longer sent.`);
    } catch (error) {
      chat.notify(explain(error), { error: true });
    }
  }
}

export function install(chat) {
  new Meter(chat);
}
