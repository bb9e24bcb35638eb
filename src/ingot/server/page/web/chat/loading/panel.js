// A feature: the served models, each with what may be done about it, and those that may be loaded.

import { explain, json } from "../../shared/api.js";
import { button, el } from "../../shared/elements.js";
import * as format from "../../shared/format.js";
import * as models from "../../shared/models.js";
import { toast } from "../../shared/toast.js";

export function install(chat) {
  new LoadingPanel(chat);
}

class LoadingPanel {
  constructor(chat) {
    this.chat = chat;
    this.isBusy = false;
    this.list = el("div", { id: "served-models" });
    this.state = el("p", { class: "help", role: "status" });
    const section = chat.addDrawerSection("Models", el("div", {}, this.list, this.state));
    this.section = section;
    // Asked when it is opened: a folder of ingots changes without the page.
    section.addEventListener("toggle", () => section.open && this.refresh());
    models.onChange(() => section.open && !this.isBusy && this.refresh());
  }

  async refresh() {
    try {
      this.show(await json("admin/models"));
    } catch (error) {
      this.list.replaceChildren();
      this.state.textContent = explain(error);
    }
  }

  show(report) {
    const stored = report.stored.map((ingot) => this.stored(ingot, report));
    this.list.replaceChildren(
      el(
        "ul",
        { class: "model-list", "aria-label": "Served models" },
        report.models.map((model) => this.served(model, report)),
      ),
      report.has_folder && report.may_change
        ? el("h3", {}, "In the server’s folder")
        : document.createDocumentFragment(),
      el("ul", { class: "model-list", "aria-label": "Ingots to load" }, stored),
    );
    if (!this.isBusy) this.state.replaceChildren(...hint(report));
  }

  served(model, { models: served, may_change }) {
    const isCurrent = models.current()?.id === model.id;
    const action = (text, run, attributes = {}) =>
      button(text, run, { class: "small", disabled: this.isBusy, ...attributes });
    const copy = `${model.id}:int8`;
    const isRounded = model.id.endsWith(":int8") || models.knownFacts(model)?.quantized;
    const hasCopy = isRounded || served.some(({ id }) => id === copy);
    const unloadable = may_change && served.length > 1;
    return el(
      "li",
      { "aria-current": isCurrent ? "true" : null },
      el("strong", {}, model.id),
      el(
        "span",
        { class: "help" },
        `${format.bytes(model.weight_bytes)} · ${format.whole(model.max_model_len)} tokens · ${model.knows_conversations ? "conversations" : "continues text"}${model.asleep ? " · asleep until it is asked" : ""}`,
      ),
      el(
        "span",
        { class: "toolbar" },
        isCurrent
          ? el("span", { class: "help" }, "In use")
          : action("Use", () => this.use(model.id), { "aria-label": `Use ${model.id}` }),
        may_change && !hasCopy
          ? action("Copy in int8", () => this.quantize(model.id), {
              "aria-label": `Serve a copy of ${model.id} in int8`,
            })
          : null,
        unloadable
          ? action("Unload", () => this.unload(model.id), { "aria-label": `Unload ${model.id}` })
          : null,
      ),
    );
  }

  stored({ name, bytes }, { models: served }) {
    const id = name.replace(/\.ingot$/, "");
    const isServed = served.some((model) => model.id === id);
    const text = isServed ? "Load again" : "Load";
    const attributes = { class: "small", disabled: this.isBusy, "aria-label": `${text} ${name}` };
    return el(
      "li",
      {},
      el("strong", {}, name),
      el("span", { class: "help" }, format.bytes(bytes)),
      el(
        "span",
        { class: "toolbar" },
        button(text, () => this.load(id, name), attributes),
      ),
    );
  }

  use(id) {
    models.select(id);
    this.chat.notify(`${id} answers from now on.`);
  }

  load(id, name) {
    const body = { model: id, ingot: name };
    this.change(`Loading and verifying ${name}…`, "admin/ingots", body, `${id} is served.`);
  }

  unload(id) {
    this.change(`Unloading ${id}…`, "admin/unload", { model: id }, `${id} is unloaded.`);
  }

  quantize(id) {
    const said = `${id}:int8 is served beside ${id}.`;
    this.change("Rounding the weights to int8…", "admin/quantize", { model: id }, said);
  }

  // One change at a time: the server takes them one after another.
  async change(doing, path, body, done) {
    this.isBusy = true;
    this.state.textContent = doing;
    for (const each of this.list.querySelectorAll("button")) each.disabled = true;
    let problem = "";
    try {
      await json(path, { body });
      await models.load();
      toast(done);
    } catch (error) {
      problem = explain(error);
    }
    this.isBusy = false;
    await this.refresh();
    if (problem) this.state.textContent = problem;
    this.state.classList.toggle("error", Boolean(problem));
  }
}

function hint({ may_change, has_folder }) {
  if (!may_change) return ["To load or unload models here, use a key with admin = true."];
  if (has_folder) return [];
  const option = el("code", { class: "option" }, "--set server.ingots_folder=FOLDER");
  return ["To load models here, start the server with ", option];
}
