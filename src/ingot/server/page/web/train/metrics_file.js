// Incremental reader of a run's metrics.jsonl: large files do not block the page, and a file that
// has grown is read from where the last read ended.

const SLICE_MS = 12; // of parsing at a time, so that the page stays responsive

// name: what to call the run until its record says so itself.
export function newRun(name, { fixed = false } = {}) {
  return {
    name,
    fixed, // whether the name was chosen, so that the record's own does not replace it
    steps: [],
    evaluations: [],
    samples: [],
    events: [], // checkpoints, skipped updates and starts, in order
    skippedUpdates: 0, // by the guard against non-finite updates and loss spikes
    parameters: null,
    invalidLines: 0,
    bytesRead: 0,
    pending: "", // an incomplete last line
  };
}

// Adds to `run` what the file holds beyond what was read before.
export async function readMore(run, file) {
  if (file.size < run.bytesRead) Object.assign(run, newRun(run.name, run)); // it was restarted
  const text = file.slice(run.bytesRead).stream().pipeThrough(new TextDecoderStream());
  const reader = text.getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const lines = (run.pending + value).split("\n");
    run.pending = lines.pop();
    await parseLines(run, lines);
  }
  run.bytesRead = file.size;
}

// Parses a last line without a line end; only for a file that no longer grows.
export function finish(run) {
  if (run.pending) parseLine(run, run.pending);
  run.pending = "";
}

async function parseLines(run, lines) {
  let deadline = performance.now() + SLICE_MS;
  for (const line of lines) {
    if (line) parseLine(run, line);
    if (performance.now() < deadline) continue;
    await new Promise((resume) => setTimeout(resume));
    deadline = performance.now() + SLICE_MS;
  }
}

function parseLine(run, line) {
  let record;
  try {
    record = JSON.parse(line);
  } catch {
    run.invalidLines += 1;
    return;
  }
  const numbered = Number.isFinite(record?.step);
  const scored = numbered && Number.isFinite(record.loss);
  if (record?.event === "stepped" && scored) run.steps.push(record);
  else if (record?.event === "evaluated" && scored) run.evaluations.push(record);
  else if (record?.event === "sampled" && numbered && typeof record.text === "string")
    run.samples.push(record);
  else if (numbered && ["skipped", "checkpointed", "started"].includes(record.event)) {
    run.events.push(record);
    describe(run, record);
  }
}

function describe(run, record) {
  if (record.event === "skipped") run.skippedUpdates += 1;
  if (record.event === "started") run.parameters = record.parameters ?? null;
  if (run.fixed) return;
  // A checkpoint lies in RUN/checkpoints/step-N.
  const folder = /([^/\\]+)[/\\]checkpoints[/\\][^/\\]+$/.exec(String(record.path ?? ""))?.[1];
  if (typeof record.run === "string" && record.run) run.name = record.run;
  else if (folder) run.name = folder;
}
