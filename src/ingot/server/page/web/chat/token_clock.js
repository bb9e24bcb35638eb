// The clock of an answer.

// Time to the first token, and tokens per second from then on: the wait is not part of the speed.
export class TokenClock {
  constructor() {
    this.start = performance.now();
    this.firstAt = null;
    this.lastAt = null;
    this.tokens = 0;
    this.firstTokens = 0;
  }

  add(count) {
    this.lastAt = performance.now();
    this.tokens += count;
    if (this.firstAt === null) {
      this.firstAt = this.lastAt;
      this.firstTokens = count;
    }
  }

  get first() {
    return this.firstAt === null ? null : (this.firstAt - this.start) / 1000;
  }

  get speed() {
    const seconds = (this.lastAt - this.firstAt) / 1000;
    const later = this.tokens - this.firstTokens;
    return seconds > 0 && later > 0 ? later / seconds : null;
  }
}
