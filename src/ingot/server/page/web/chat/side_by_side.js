// A feature: a second answer beside the first, by another model or at another temperature.

import { $, el } from "../shared/elements.js";
import * as models from "../shared/models.js";
import * as storage from "./storage.js";

export function install(chat) {
  const stored = storage.readSettings();
  const toggle = el("input", { id: "side-by-side", type: "checkbox" });
  toggle.checked = stored["side-by-side"] === true;
  const model = el("select", { id: "other-model" });
  const temperature = el("input", {
    ...{ id: "other-temperature", type: "number", inputmode: "decimal" },
    ...{ min: 0, max: 10, step: 0.05 },
  });
  temperature.value = stored["other-temperature"] ?? "0.8";
  const control = (id, name, input) =>
    el(
      "div",
      { class: "control" },
      el("label", { for: id }, name),
      el("div", { class: "field" }, input),
    );
  const other = el(
    "div",
    { class: "controls" },
    control("other-model", "Other model", model),
    control("other-temperature", "Other temperature", temperature),
  );
  const label = el("label", { for: "side-by-side" }, toggle, " Two answers to each question");
  chat.addDrawerSection("Side by side", el("div", {}, el("p", {}, label), other));

  const changed = () => {
    chat.sideBySide = toggle.checked;
    other.hidden = !toggle.checked;
    const settings = { ...storage.readSettings(), "side-by-side": toggle.checked };
    storage.saveSettings({ ...settings, "other-temperature": temperature.value });
    if (chat.current) chat.ui.render();
  };
  toggle.addEventListener("change", changed);
  temperature.addEventListener("input", changed);
  const showModels = () => {
    const selected = model.value;
    model.replaceChildren(...models.all().map(({ id }) => el("option", { value: id }, id)));
    model.value = models.byName(selected)?.id ?? "";
  };
  models.onChange(showModels);
  showModels();
  changed();
  chat.variants(() => {
    if (!toggle.checked) return [];
    const settings = { ...chat.settings(), temperature: $("other-temperature").value };
    return [{ model: models.byName(model.value) ?? undefined, settings }];
  });
}
