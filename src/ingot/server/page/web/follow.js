// A run that this page was opened for: its record as it grows, where it stands, and its buttons.

import { call, explain, json } from "./api.js";
import { button, el, figure } from "./dom.js";
import * as format from "./format.js";
import { newRun, readMore } from "./run_file.js";

const EVERY_MS = 2000;
const BUTTONS = [
  ["pause", "Pause"],
  ["resume", "Go on"],
  ["checkpoint", "Checkpoint now"],
  ["freeze", "Seal the latest checkpoint"],
  ["serve", "Seal and serve it"],
  ["stop", "Stop"],
];

// Fills `controls` with buttons, keeps `status` up to date and has `draw` draw the curves.
export async function follow(controls, status, draw) {
  const figures = el("dl", { class: "figures" });
  const said = el("p", { class: "status", role: "status" });
  const run = newRun(document.body.dataset.run);
  controls.append(...BUTTONS.map(([action, text]) => button(text, () => ask(action), { id: `run-${action}` })));
  status.after(said, figures);

  async function ask(action) {
    said.classList.remove("error");
    try {
      said.replaceChildren(...linked((await json(`run/${action}`, { body: {} })).said));
      await look();
    } catch (error) {
      said.textContent = explain(error);
      said.classList.add("error");
    }
  }

  async function look() {
    const { paused } = await json("run");
    document.getElementById("run-pause").hidden = paused;
    document.getElementById("run-resume").hidden = !paused;
    return paused;
  }

  // The record comes in pieces; more is fetched at once as long as there is more.
  async function read() {
    for (;;) {
      const answer = await call(`run/metrics.jsonl?start=${run.read}`);
      const size = Number(answer.headers.get("x-record-size"));
      const piece = await answer.blob();
      if (size < run.read) Object.assign(run, newRun(run.name));
      if (!piece.size) return;
      const end = run.read + piece.size;
      await readMore(run, { size: end, slice: () => piece });
      if (end >= size) return;
    }
  }

  let drawn = 0;
  for (;;) {
    try {
      const paused = await look();
      await read();
      const last = run.steps.at(-1);
      if (run.steps.length !== drawn) {
        drawn = run.steps.length;
        show(figures, run, last);
        await draw([run]);
      }
      status.textContent = last ? `${paused ? "Paused" : "Training"}: update ${format.whole(last.step)}.` : "No update yet.";
      status.classList.remove("error");
    } catch (error) {
      status.textContent = `${explain(error)} The run has ended, or was stopped; what was read stays here.`;
      status.classList.add("error");
    }
    await new Promise((resume) => setTimeout(resume, EVERY_MS));
  }
}

// What was said, an address of this machine in it as a link.
function linked(text) {
  return text.split(/(http:\/\/127\.0\.0\.1:\d+)/).map((part, place) => (place % 2 ? el("a", { href: part, target: "_blank", rel: "noopener" }, part) : part));
}

function show(figures, run, last) {
  const scored = run.evaluations.at(-1);
  const rows = [
    ["Done", last.progress, (value) => `${Math.round(100 * value)}%`],
    ["Left", last.seconds_left, format.seconds],
    ["Training loss", last.loss, (value) => value.toFixed(3)],
    ["Held-out loss", scored?.loss, (value) => value.toFixed(3)],
    ["Bits per byte", scored?.bits_per_byte, (value) => value.toFixed(3)],
    ["Tokens per second", last.tokens_per_second, format.whole],
    ["Share of peak", last.share_of_peak, (value) => `${Math.round(100 * value)}%`],
    ["Skipped", run.left_out || null, format.whole],
    ["Energy", last.energy_kwh, (value) => `${value.toPrecision(3)} kWh`],
    ["Spent", last.money, (value) => value.toFixed(2)],
  ];
  const known = rows.filter(([, value]) => value !== null && value !== undefined);
  figures.replaceChildren(...known.map(([name, value, write]) => figure(name, write(value))));
}
