// A button that sends requests for some seconds, so that the picture of the batch has something to
// show on a server that nobody uses.

import { explain } from "../shared/api.js";
import { button, el } from "../shared/elements.js";
import * as models from "../shared/models.js";
import { complete } from "../shared/timed_requests.js";

const SECONDS = 6;
const GROUPS = [3, 2, 3]; // users of each request; the requests begin one after another
const APART_MS = 400;
const TOKENS = 160; // so long that the groups overlap on a fast model
const PROMPT = "The purpose of this module is to";

export function sampleLoad() {
  const status = el("span", { class: "help", role: "status" });
  const name = `Send requests for ${SECONDS} seconds`;
  let stop = null;
  const run = async () => {
    if (stop) {
      stop.abort();
      return;
    }
    stop = new AbortController();
    trigger.textContent = "Stop";
    status.textContent = "";
    try {
      const model = await models.selected();
      await Promise.all(GROUPS.map((users, group) => ask(model, users, group, stop.signal)));
    } catch (error) {
      if (error.name !== "AbortError") status.textContent = explain(error);
    }
    stop = null;
    trigger.textContent = name;
  };
  const trigger = button(name, run, { class: "small" });
  return el("div", { class: "toolbar sample-load" }, trigger, status);
}

// Asks again and again, as a group of users at once, until the time is over.
async function ask(model, users, group, signal) {
  const until = performance.now() + 1000 * SECONDS;
  const tokens = Math.min(TOKENS, Math.floor(model.max_model_len / 2));
  await new Promise((resume) => setTimeout(resume, group * APART_MS));
  for (let seed = 100 * group; performance.now() < until; seed += users)
    await complete(model, Array(users).fill(PROMPT), { tokens, seed, signal });
}
