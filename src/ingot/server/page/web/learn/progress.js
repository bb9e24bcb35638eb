// How far the reader has come: the screen, and the answers with the model that they were measured
// on. Kept in this browser.

const KEY = "ingot.lesson";

function read() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY));
    return { screen: String(kept.screen), answers: Object(kept.answers) };
  } catch {
    return { screen: "", answers: {} };
  }
}

const state = read();

function keep() {
  try {
    localStorage.setItem(KEY, JSON.stringify(state));
  } catch {
    // Without storage the lesson begins again with the next visit.
  }
}

export const screen = () => state.screen;
export const answerTo = (questionId) => state.answers[questionId] ?? null;

export function setScreen(id) {
  state.screen = id;
  keep();
}

// Notes an answer: { choice, digest } with the digest of the model that it was measured on.
export function setAnswer(questionId, answer) {
  state.answers[questionId] = answer;
  keep();
}

export function restart() {
  state.screen = "";
  state.answers = {};
  keep();
}
