// Time for what moves: none where the reader's system asks for reduced motion.

const reduced = matchMedia("(prefers-reduced-motion: reduce)");

export const isStill = () => reduced.matches;

// Waits `ms` milliseconds; not at all where motion is reduced.
export const pause = (ms) =>
  new Promise((resume) => {
    if (isStill()) resume();
    else setTimeout(resume, ms);
  });

// Calls `draw(share)` in each frame while `share` runs from 0 to 1; once with 1 without motion.
export function animate(ms, draw) {
  if (isStill()) {
    draw(1);
    return Promise.resolve();
  }
  return new Promise((resolve) => {
    const began = performance.now();
    const frame = (now) => {
      const share = Math.min(1, Math.max(0, (now - began) / ms));
      draw(share);
      if (share < 1) requestAnimationFrame(frame);
      else resolve();
    };
    requestAnimationFrame(frame);
  });
}
