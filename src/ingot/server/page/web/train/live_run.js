// The page of a running training run: its metrics as they grow, its progress, and its controls.

import { call, explain, json } from "../shared/api.js";
import { button, el, figure } from "../shared/elements.js";
import * as format from "../shared/format.js";
import { newRun, readMore } from "./metrics_file.js";

const INTERVAL_MS = 2000;
const ACTIONS = [
  ["pause", "Pause"],
  ["resume", "Resume"],
  ["checkpoint", "Checkpoint now"],
  ["freeze", "Seal the latest checkpoint"],
  ["serve", "Seal and serve it"],
  ["stop", "Stop"],
];

// Fills `controls` with buttons, then keeps `status` and the charts up to date for good.
export async function showLiveRun(controls, status, draw) {
  const figures = el("dl", { class: "figures" });
  const message = el("p", { class: "status", role: "status" });
  const run = newRun(document.body.dataset.run, { fixed: true });
  const buttons = ACTIONS.map(([action, text]) =>
    button(text, () => perform(action), { id: `run-${action}` }),
  );
  controls.append(...buttons);
  status.after(message, figures);

  async function perform(action) {
    message.classList.remove("error");
    try {
      const answer = await json(`run/${action}`, { body: {} });
      message.replaceChildren(...withLinks(answer.message));
      await readState();
    } catch (error) {
      message.textContent = explain(error);
      message.classList.add("error");
    }
  }

  async function readState() {
    const { paused } = await json("run");
    document.getElementById("run-pause").hidden = paused;
    document.getElementById("run-resume").hidden = !paused;
    return paused;
  }

  // One answer holds a limited part of the file; parts are fetched until the end is reached.
  async function readMetrics() {
    for (;;) {
      const answer = await call(`run/metrics.jsonl?start=${run.bytesRead}`);
      const size = Number(answer.headers.get("x-metrics-size"));
      const part = await answer.blob();
      if (size < run.bytesRead) Object.assign(run, newRun(run.name, run)); // the run was restarted
      if (!part.size) return;
      const end = run.bytesRead + part.size;
      await readMore(run, { size: end, slice: () => part });
      if (end >= size) return;
    }
  }

  let stepsDrawn = 0;
  for (;;) {
    try {
      const paused = await readState();
      await readMetrics();
      const last = run.steps.at(-1);
      if (run.steps.length !== stepsDrawn) {
        stepsDrawn = run.steps.length;
        showFigures(figures, run, last);
        await draw([run]);
      }
      const state = paused ? "Paused" : "Training";
      status.textContent = last ? `${state}: update ${format.whole(last.step)}.` : "No update yet.";
      status.classList.remove("error");
    } catch (error) {
      status.textContent = `${explain(error)} The run has ended or was stopped; the charts stay here.`;
      status.classList.add("error");
    }
    await new Promise((resume) => setTimeout(resume, INTERVAL_MS));
  }
}

// Turns an address of this machine in a message into a link.
function withLinks(text) {
  const parts = text.split(/(http:\/\/127\.0\.0\.1:\d+)/); // odd parts are the addresses
  return parts.map((part, index) =>
    index % 2 ? el("a", { href: part, target: "_blank", rel: "noopener" }, part) : part,
  );
}

function showFigures(figures, run, last) {
  const evaluation = run.evaluations.at(-1);
  const rows = [
    ["Done", last.progress, format.percent],
    ["Left", last.seconds_left, format.seconds],
    ["Training loss", last.loss, (value) => value.toFixed(3)],
    ["Held-out loss", evaluation?.loss, (value) => value.toFixed(3)],
    ["Bits per byte", evaluation?.bits_per_byte, (value) => value.toFixed(3)],
    ["Tokens per second", last.tokens_per_second, format.whole],
    ["Share of peak", last.share_of_peak, format.percent],
    ["Skipped updates", run.skippedUpdates || null, format.whole],
    ["Energy", last.energy_kwh, (value) => `${value.toPrecision(3)} kWh`],
    ["Spent", last.money, (value) => value.toFixed(2)],
  ];
  const known = rows.filter(([, value]) => value !== null && value !== undefined);
  figures.replaceChildren(...known.map(([name, value, write]) => figure(name, write(value))));
}
