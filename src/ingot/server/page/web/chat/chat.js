// A chat without its looks: the conversations, the answers that arrive, and where features plug in.
//
// A feature is a module with `install(chat)`, listed in features.js. It may use, of `chat`:
//
//   slots                  elements to add to: attachments (a row above the text), tools (a row of
//                          buttons under it), notices (above the messages), modelPicker (in the
//                          header), and the composer itself
//   addDrawerSection       (title, element, { open }) a section of the settings; returns it
//   addMessageAction       ({ id, label, icon, when(node), run(node) }) a button under messages
//   decorate               (hook(node, { element, body, footer })) called once for each message that
//                          is shown; `body` is above its text, `footer` below
//   transform              (hook(body, { conversation, messages, model, continues })) may change the
//                          body of each request
//   beforeSend             (async hook(draft)) draft is { text, fields }; may change it; returns
//                          false to hold it back, the text then stays in the composer
//   variants               (hook(node)) returns further answers to generate beside the first:
//                          [{ model, settings }]
//   on                     (event, listener): "conversation" (another one, or it changed), "draft"
//                          (text), "settings", "model", "stream" ({ node, event }: an event of the
//                          server), "answered" ({ node, nodes, results, requests }), "busy"
//                          (boolean)
//   current, path(), draft(), settings(), model(), isBusy     what is there now
//   select(conversation), begin(mode), send(text), answer(node), continueAnswer(node), stop()
//   changed()              store the conversations and draw what changed
//   notify(text, { error, actions })

import { explain } from "../shared/api.js";
import * as models from "../shared/models.js";
import * as tree from "./conversation.js";
import { generate } from "./generation.js";
import { build } from "./request.js";
import * as storage from "./storage.js";

export class Chat {
  // `ui` is set by the view: { settings(), draft(), setDraft(text), status(text, isError),
  // answerView(node), render(), asked(node, answers), slots, … }
  constructor(ui) {
    this.ui = ui;
    this.slots = ui.slots;
    this.conversations = storage.readConversations();
    this.current = null;
    this.running = []; // an AbortController for each answer that is being generated
    this.pairs = new Map(); // ids of answers that stand side by side, by the id of their question
    this.sideBySide = true; // whether they do
    this.listeners = new Map();
    this.hooks = { decorate: [], transform: [], beforeSend: [], variants: [], actions: [] };
  }

  // ---- Where features plug in

  on(event, listener) {
    this.listeners.set(event, [...(this.listeners.get(event) ?? []), listener]);
  }

  emit(event, detail) {
    for (const listener of this.listeners.get(event) ?? []) listener(detail);
  }

  addMessageAction(action) {
    this.hooks.actions.push(action);
  }

  decorate(hook) {
    this.hooks.decorate.push(hook);
  }

  transform(hook) {
    this.hooks.transform.push(hook);
  }

  beforeSend(hook) {
    this.hooks.beforeSend.push(hook);
  }

  variants(hook) {
    this.hooks.variants.push(hook);
  }

  addDrawerSection(title, element, options) {
    return this.ui.addDrawerSection(title, element, options);
  }

  notify(text, { error = false } = {}) {
    this.ui.status(text, error);
  }

  // ---- What is there now

  get isBusy() {
    return this.running.length > 0;
  }

  model = () => models.current();
  settings = () => this.ui.settings();
  draft = () => this.ui.draft();
  path = () => tree.path(this.current);

  // ---- Conversations

  // Returns an empty conversation; one that exists already is used again.
  begin(mode) {
    const empty = this.conversations.find((one) => one.mode === mode && tree.isEmpty(one));
    if (empty) return empty;
    this.conversations.unshift(tree.create(mode));
    return this.conversations[0];
  }

  select(conversation) {
    if (conversation !== this.current) this.stop();
    this.current = conversation;
    this.ui.selected();
    this.ui.status("");
    this.ui.render();
    this.emit("conversation", conversation);
  }

  // Removes a conversation; returns a function that puts it back.
  remove(conversation) {
    const index = this.conversations.indexOf(conversation);
    const wasCurrent = conversation === this.current;
    this.conversations.splice(index, 1);
    if (wasCurrent) this.select(this.conversations[0] ?? this.begin(conversation.mode));
    this.changed();
    return () => {
      this.conversations.splice(index, 0, conversation);
      if (wasCurrent) this.select(conversation);
      this.changed();
    };
  }

  addAll(found) {
    this.conversations.unshift(...found);
    if (found.length) this.select(found[0]);
    this.changed();
  }

  changed() {
    const error = storage.saveConversations(this.conversations);
    if (error) this.ui.status(error, true);
    this.ui.render();
    this.emit("conversation", this.current);
  }

  // ---- Questions and answers

  // Adds a message of the user's and generates its answer. Returns whether it was sent.
  async send(text) {
    const draft = { text, fields: undefined };
    for (const hook of this.hooks.beforeSend) if ((await hook(draft)) === false) return false;
    if (this.isBusy || !draft.text) return false;
    const last = this.path().at(-1);
    // Prompts are independent of each other: each is a child of the root.
    const parent = this.current.mode === "chat" && last ? last.id : tree.ROOT;
    const node = tree.add(this.current, parent, "user", draft.text);
    if (draft.fields) node.fields = draft.fields;
    this.toTop(this.current);
    this.answer(node);
    return true;
  }

  toTop(conversation) {
    this.conversations = [
      conversation,
      ...this.conversations.filter((one) => one !== conversation),
    ];
  }

  // Adds another version of a message: a question is answered, an answer is kept as it is written.
  edit(node, text) {
    const { current } = this;
    const version = tree.add(current, node.parent, node.role, text);
    if (node.fields) version.fields = structuredClone(node.fields);
    if (node.role === "user") this.answer(version);
    else this.changed();
  }

  retry(node) {
    this.answer(this.current.nodes[node.parent]);
  }

  branch(node) {
    this.conversations.unshift(tree.branch(this.current, node.id));
    this.select(this.conversations[0]);
    this.changed();
  }

  show(node) {
    tree.show(this.current, node);
    this.changed();
  }

  stop() {
    for (const controller of this.running) controller.abort();
  }

  // Generates the answer to `node`, and those that features want beside it.
  async answer(node) {
    const { current } = this;
    const wanted = [{}, ...this.hooks.variants.flatMap((hook) => hook(node) ?? [])];
    await this.generate(node, wanted, () => tree.add(current, node.id, "assistant"));
  }

  // Appends to an answer that had ended.
  async continueAnswer(node) {
    await this.generate(node, [{}], () => node, true);
  }

  // Generates an answer for each of `wanted` ({ model, settings }, by default those chosen) into
  // the node that `place` returns.
  async generate(node, wanted, place, continues = false) {
    const conversation = this.current;
    let requests;
    try {
      requests = await Promise.all(
        wanted.map((each) => this.request(conversation, node, each, continues)),
      );
    } catch (error) {
      if (!continues) this.removeRefused(conversation, node, []);
      this.changed();
      this.ui.status(explain(error), true);
      return;
    }
    const answers = requests.map(place);
    if (answers.length > 1) {
      this.pairs.set(
        node.id,
        answers.map(({ id }) => id),
      );
      tree.show(conversation, answers[0]);
    }
    answers.forEach((answer, index) => {
      answer.model = requests[index].model.id;
    });
    const controllers = requests.map(() => new AbortController());
    this.running.push(...controllers);
    this.setBusy(true);
    this.ui.render();
    this.ui.asked(node, answers, continues);
    const results = await Promise.all(
      requests.map(({ request, model }, index) => {
        const answer = answers[index];
        const onEvent = (event) => this.emit("stream", { node: answer, event });
        const { signal } = controllers[index];
        return generate(request, answer, this.ui.answerView(answer), model, signal, onEvent);
      }),
    );
    this.running = this.running.filter((controller) => !controllers.includes(controller));
    if (this.isBusy) return;
    const failed = results.find((result) => result.error);
    this.removeRefused(conversation, node, answers);
    this.setBusy(false);
    conversation.updated = Date.now();
    this.changed();
    this.ui.status(failed?.error ?? results[0].message, Boolean(failed));
    const sent = requests.map(({ request }) => request);
    this.emit("answered", { node: answers[0], nodes: answers, results, requests: sent });
    this.checkDigest(results[0].digest);
  }

  async request(conversation, node, { model, settings }, continues) {
    const used = model ?? (await models.selected());
    const messages = tree.pathTo(conversation, node.id);
    const chosen = settings ?? this.settings();
    const request = build(conversation.mode, messages, chosen, used, continues);
    for (const hook of this.hooks.transform) {
      hook(request.body, { conversation, messages, model: used, continues });
    }
    return { request, model: used };
  }

  // An answer that was refused, or stopped before its first word, leaves nothing behind: in a chat, an unanswered question would be sent again
  // with every later one. Its text returns to the composer, to be changed.
  removeRefused(conversation, question, answers) {
    const isEmpty = (each) => !each.text && !each.fields && conversation.nodes[each.id];
    for (const each of answers) if (isEmpty(each)) tree.remove(conversation, each);
    // Results of tools come one after another; the call that they answer stays, to be answered.
    let asked = question;
    while (asked.role !== "assistant" && asked.id !== tree.ROOT && !asked.children.length) {
      tree.remove(conversation, asked);
      if (asked.role === "user") break;
      asked = conversation.nodes[asked.parent];
    }
    const isUser = asked.role === "user" && !conversation.nodes[asked.id];
    if (isUser && conversation === this.current && !this.draft()) this.ui.setDraft(asked.text);
  }

  // The server can replace an ingot while the page is open.
  checkDigest(digest) {
    const known = models.all().some((model) => model.digest === digest);
    if (!digest || known) return;
    models.load().catch(() => {}); // the next request reports a server that does not answer
    this.ui.status("The server now answers with other weights than before.");
  }

  setBusy(busy) {
    this.ui.setBusy(busy);
    this.emit("busy", busy);
  }
}
