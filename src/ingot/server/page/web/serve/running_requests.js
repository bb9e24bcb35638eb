// The tables of the requests that are being answered, with a button that cancels each, and of keys.

import { explain, json } from "../shared/api.js";
import { button, el, table } from "../shared/elements.js";
import * as format from "../shared/format.js";

export class RunningRequests {
  // refresh: reads the activity again; report: shows an error.
  constructor(refresh, report) {
    this.refresh = refresh;
    this.report = report;
    this.shownRows = "";
    this.element = el("div", {});
  }

  show({ requests: running, keys }) {
    const named = keys.some(({ key }) => key !== "");
    const requestCells = running.map((each) => [
      each.id.slice(0, 12),
      each.model,
      ...(named ? [each.key] : []),
      format.seconds(each.seconds),
      format.whole(each.prompt_tokens),
      format.whole(each.completion_tokens),
    ]);
    const keyCells = keys.map((each) => [
      each.key || "no key",
      format.whole(each.requests),
      format.whole(each.refused),
      format.whole(each.prompt_tokens),
      format.whole(each.cached_tokens),
      format.whole(each.completion_tokens),
    ]);
    // The rows stay while they list the same requests: rebuilding them each second would take the
    // button from under a click and the reading position from a screen reader.
    const rows = JSON.stringify([running.map(({ number }) => number), keys.length, named]);
    if (rows === this.shownRows) {
      this.updateCells([...requestCells, ...keyCells]);
      return;
    }
    this.shownRows = rows;
    const keyColumn = named ? ["Key"] : [];
    const columns = [
      "Request",
      "Model",
      ...keyColumn,
      "Running for",
      "Prompt tokens",
      "Written",
      "Cancel",
    ];
    const cancellable = requestCells.map((cells, index) => [
      ...cells,
      this.cancelButton(running[index]),
    ]);
    this.element.replaceChildren(
      el("h3", {}, "Running requests"),
      running.length
        ? table("Running requests", columns, cancellable, { records: true })
        : el("p", { class: "help" }, "No request is running."),
      el("h3", {}, "Usage by key"),
      keys.length
        ? table(
            "What each key has used since the server started",
            ["Key", "Requests", "Refused", "Prompt tokens", "Of these cached", "Written"],
            keyCells,
            { records: true },
          )
        : el("p", { class: "help" }, "No requests yet."),
    );
  }

  updateCells(rows) {
    const shown = this.element.querySelectorAll("tbody tr");
    for (const [index, cells] of rows.entries()) {
      const elements = shown[index]?.querySelectorAll("th, td") ?? [];
      for (const [column, text] of cells.entries())
        if (elements[column] && elements[column].textContent !== text)
          elements[column].textContent = text;
    }
  }

  cancelButton({ number, id }) {
    const cancel = async () => {
      try {
        await json("admin/cancel", { body: { number } });
        this.refresh();
      } catch (error) {
        if (error.status !== 404) this.report(explain(error)); // 404: it has just finished
      }
    };
    return button("Cancel", cancel, { "aria-label": `Cancel request ${id.slice(0, 12)}` });
  }
}
