// The page's one job: send a prompt, show the tokens as they come, and say how fast they came.
// Whatever the model writes reaches the document as text only, never as HTML.

const $ = (id) => document.getElementById(id);
const [form, prompt, temperature, maxTokens] = ["form", "prompt", "temperature", "max-tokens"].map($);
const [answer, status, generate, stop] = ["answer", "status", "generate", "stop"].map($);

let model = null;
let running = null; // the AbortController of the answer under way

// ---- Talking to the server

async function errorOf(response) {
  const body = await response.json().catch(() => null);
  return new Error(body?.error?.message ?? `The server answered with status ${response.status}.`);
}

async function findModel() {
  const response = await fetch("v1/models");
  if (!response.ok) throw await errorOf(response);
  model = (await response.json()).data[0];
  $("model").textContent = model.id;
  $("digest").textContent = model.digest;
  maxTokens.max = model.max_model_len;
}

// Yields the parsed data of each server-sent event.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("The server broke off before the answer was complete.");
    const parts = (pending + value).split("\n\n");
    pending = parts.pop();
    for (const part of parts) {
      const data = part.replace(/^data: /, "");
      if (data === "[DONE]") return;
      const event = JSON.parse(data);
      if (event.error) throw new Error(event.error.message);
      yield event;
    }
  }
}

async function* complete(text, signal) {
  if (model === null) await findModel();
  const response = await fetch("v1/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    signal,
    body: JSON.stringify({
      model: model.id,
      prompt: text,
      temperature: temperature.valueAsNumber,
      max_tokens: maxTokens.valueAsNumber,
      stream: true,
      stream_options: { include_usage: true },
    }),
  });
  if (!response.ok) throw await errorOf(response);
  yield* events(response);
}

// ---- Showing the answer

// Text is added once a frame, however fast it comes, so that the page stays responsive.
class Sheet {
  constructor(promptText) {
    const asked = document.createElement("span");
    asked.className = "prompt";
    asked.textContent = promptText;
    this.written = document.createTextNode("");
    this.pending = "";
    answer.replaceChildren(asked, this.written);
  }

  add(text) {
    if (this.pending === "" && text !== "") requestAnimationFrame(() => this.show());
    this.pending += text;
  }

  show() {
    const atEnd = answer.scrollHeight - answer.scrollTop - answer.clientHeight < 40;
    this.written.appendData(this.pending);
    this.pending = "";
    if (atEnd) answer.scrollTop = answer.scrollHeight;
  }
}

// Speed counts from the first token on, so that it does not mix in the wait for it.
class Clock {
  constructor() {
    this.start = performance.now();
    this.first = this.last = null;
    this.tokens = 0;
    for (const id of ["first-token", "speed", "tokens"]) $(id).textContent = "–";
  }

  tick() {
    this.last = performance.now();
    this.tokens += 1;
    if (this.first === null) {
      this.first = this.last;
      const wait = this.first - this.start;
      $("first-token").textContent = wait < 1000 ? `${Math.round(wait)} ms` : `${(wait / 1000).toFixed(1)} s`;
    }
    this.show();
  }

  show() {
    $("tokens").textContent = this.tokens.toLocaleString();
    const seconds = (this.last - this.first) / 1000;
    if (this.tokens < 2 || seconds <= 0) return;
    const rate = (this.tokens - 1) / seconds;
    $("speed").textContent = rate < 10 ? rate.toFixed(1) : Math.round(rate).toLocaleString();
  }
}

function say(text, isError = false) {
  status.textContent = text;
  status.classList.toggle("error", isError);
}

function setBusy(busy) {
  answer.setAttribute("aria-busy", String(busy)); // screen readers wait until it is done
  const [off, on] = busy ? [generate, stop] : [stop, generate];
  const focused = document.activeElement === off;
  on.disabled = false;
  if (focused) on.focus(); // a disabled button would drop the focus
  off.disabled = true;
}

const ENDINGS = {
  length: "Ended at the longest answer you allowed.",
  stop: "The model ended its text.",
};

async function run() {
  const controller = (running = new AbortController());
  const sheet = new Sheet(prompt.value);
  const clock = new Clock();
  let ending = "";
  setBusy(true);
  say("Writing…");
  try {
    for await (const event of complete(prompt.value, controller.signal)) {
      $("digest").textContent = event.system_fingerprint;
      if (event.usage) {
        clock.tokens = event.usage.completion_tokens;
        if (clock.first !== null) clock.show();
      }
      for (const choice of event.choices) {
        if (choice.text) clock.tick();
        sheet.add(choice.text);
        if (choice.finish_reason) ending = ENDINGS[choice.finish_reason];
      }
    }
    say(ending);
  } catch (error) {
    if (controller.signal.aborted) say("Stopped.");
    else if (error instanceof TypeError) say("The server does not answer. Is it still running?", true);
    else say(error.message, true);
  } finally {
    sheet.show();
    running = null;
    setBusy(false);
  }
}

// ---- Controls

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (running === null) run();
});
stop.addEventListener("click", () => running?.abort());
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") running?.abort();
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
temperature.addEventListener("input", () => {
  $("temperature-value").textContent = temperature.valueAsNumber.toFixed(2);
});
findModel().catch(() => say("The server does not answer. Is it still running?", true));
