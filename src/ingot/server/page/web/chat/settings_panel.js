// The settings' drawer: presets, the parameters of a request, and the sections of features.

import { $, button, el } from "../shared/elements.js";
import { icon } from "../shared/icons.js";
import { Panel } from "../shared/panel.js";
import { toast } from "../shared/toast.js";
import { buildForm } from "./parameters.js";
import * as presets from "./presets.js";

const WIDE = "(min-width: 75rem)"; // there is space for it beside the conversation

export class SettingsPanel {
  // onInput() is called when a setting changed.
  constructor(stored, onInput, others) {
    this.onInput = onInput;
    this.panel = new Panel($("drawer"), $("toggle-drawer"), { wide: WIDE, others, open: false });
    $("toggle-drawer").prepend(icon("sliders"));
    $("close-drawer").append(icon("close"));
    $("close-drawer").addEventListener("click", () => this.panel.close());
    this.choice = el("select", { id: "preset" });
    this.name = el("input", { type: "text", "aria-label": "Name of the preset", maxlength: 40 });
    this.form = null;
    const container = el("div", { class: "drawer-section" }, this.presetRow());
    $("drawer-sections").append(container);
    this.form = buildForm(container, stored, () => this.changed());
    this.choice.addEventListener("change", () => this.apply(this.choice.value));
    this.showPresets();
  }

  // Shows what a model recommends as a preset; with `use` it is also chosen.
  recommend(generation, use) {
    presets.recommend(generation);
    if (use) this.apply("As recommended");
    this.showPresets();
  }

  read() {
    return this.form.read();
  }

  write(values) {
    this.form.write(values);
  }

  // Adds a section under the frame's own; returns its element.
  addSection(title, element, { open = false } = {}) {
    const summary = el("summary", {}, title);
    const section = el("details", { class: "drawer-section", open }, summary, element);
    $("drawer-sections").append(section);
    return section;
  }

  presetRow() {
    const save = () => {
      const name = this.name.value.trim();
      if (!name) return this.name.focus();
      const kept = presets.save(name, this.read());
      toast(kept ? `Saved as “${name}”.` : "The storage of this browser is full.");
      this.name.value = "";
      return this.showPresets();
    };
    this.remove = button("Delete", () => this.removeChosen(), { class: "quiet" });
    return el(
      "div",
      { class: "control preset" },
      el("label", { for: "preset" }, "Preset"),
      el("div", { class: "field" }, this.choice, this.remove),
      el(
        "details",
        {},
        el("summary", {}, "Save these settings"),
        el("div", { class: "field" }, this.name, button("Save", save, { class: "small" })),
      ),
    );
  }

  apply(name) {
    const preset = presets.all().findLast((each) => each.name === name);
    if (preset) this.write(preset.values);
  }

  removeChosen() {
    const name = this.choice.value;
    const { values } = presets.own().find((preset) => preset.name === name);
    presets.remove(name);
    this.showPresets();
    toast(`Deleted the preset “${name}”.`, [
      ["Undo", () => presets.save(name, values) && this.showPresets()],
    ]);
  }

  changed() {
    if (!this.form) return;
    this.showPresets();
    this.onInput();
  }

  showPresets() {
    const matching = presets.matching(this.read())?.name ?? "";
    const names = presets.all().map(({ name }) => name);
    const options = [...new Set(names)].map((name) => el("option", { value: name }, name));
    const own = el("option", { value: "", disabled: true }, "Your settings");
    this.choice.replaceChildren(own, ...options);
    this.choice.value = matching;
    this.remove.hidden = !presets.own().some(({ name }) => name === matching);
    $("preset-name").textContent = matching || "Settings";
  }
}
