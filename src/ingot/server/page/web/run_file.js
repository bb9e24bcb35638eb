// Reading a run's metrics.jsonl, however long, without holding up the page; again when it has grown.

const SLICE_MS = 12; // then the page has its turn

export function newRun(name) {
  return { name, steps: [], evaluations: [], samples: [], skipped: 0, left_out: 0, read: 0, pending: "" };
}

// Adds to `run` what the file holds past what was read before; what is no record is counted.
export async function readMore(run, file) {
  if (file.size < run.read) Object.assign(run, newRun(run.name)); // begun anew
  const reader = file.slice(run.read).stream().pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const lines = (run.pending + value).split("\n");
    run.pending = lines.pop(); // a line that is still being written, or the last
    await take(run, lines);
  }
  run.read = file.size;
}

// What was left of the last line; only for a file that grows no more.
export function finish(run) {
  if (run.pending) sort(run, run.pending);
  run.pending = "";
}

async function take(run, lines) {
  let until = performance.now() + SLICE_MS;
  for (const line of lines) {
    if (line) sort(run, line);
    if (performance.now() < until) continue;
    await new Promise((resume) => setTimeout(resume));
    until = performance.now() + SLICE_MS;
  }
}

function sort(run, line) {
  let record;
  try {
    record = JSON.parse(line);
  } catch {
    run.skipped += 1;
    return;
  }
  if (record?.event === "stepped" && Number.isFinite(record.step) && Number.isFinite(record.loss)) run.steps.push(record);
  else if (record?.event === "evaluated" && Number.isFinite(record.loss)) run.evaluations.push(record);
  else if (record?.event === "skipped") run.left_out += 1; // an update that a guard left out
  else if (record?.event === "sampled" && typeof record.text === "string") run.samples.push(record);
}
