// What moves before anything is measured: the stages in turn, and how the weights are passed. Nothing
// in it is a figure. The left column reads forward and writes back; the right one only reads.

import { isStill } from "../shared/motion.js";

const STAGE_MS = 900;

export class Idle {
  // columns: each with idle(tick, ms), which shows the stage of a tick; null ends it.
  constructor(columns) {
    this.columns = columns;
    this.timer = null;
    this.hasEnded = false;
    this.tick = 0;
  }

  start() {
    if (!this.hasEnded) this.timer ??= setInterval(() => this.step(), STAGE_MS);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
  }

  // Ends it for good: from now on what moves is measured.
  end() {
    this.stop();
    this.hasEnded = true;
    for (const column of this.columns) column.idle(null);
  }

  step() {
    if (document.hidden || isStill()) return;
    for (const column of this.columns) column.idle(this.tick, STAGE_MS);
    this.tick += 1;
  }
}
