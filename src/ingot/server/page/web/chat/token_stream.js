// The tokens of a streamed answer, aligned with its text.

// Returns the tokens of a choice, of either route, as { bytes, logprob, top: [[text, logprob], …] }.
export function tokensOf(choice) {
  const { logprobs } = choice;
  if (!logprobs) return [];
  if (logprobs.content) {
    return logprobs.content.map(({ bytes, token, logprob, top_logprobs }) => ({
      bytes: bytes ?? encode(token),
      logprob,
      top: top_logprobs.map((entry) => [entry.token, entry.logprob]),
    }));
  }
  return logprobs.tokens.map((token, index) => ({
    bytes: encode(token),
    logprob: logprobs.token_logprobs[index],
    top: Object.entries(logprobs.top_logprobs[index] ?? {}).sort(([, a], [, b]) => b - a),
  }));
}

// A token that is not valid UTF-8 by itself is written as bytes:\xe2\x82, as by OpenAI.
function encode(token) {
  if (!token.startsWith("bytes:")) return [...new TextEncoder().encode(token)];
  return [...token.matchAll(/\\x([0-9a-f]{2})/g)].map(([, hex]) => Number.parseInt(hex, 16));
}

// Splits streamed text into its tokens. The text is authoritative: where the tokens do not add up
// to it, for example because a stop text was removed, the rest has no probability.
export class TokenAligner {
  constructor() {
    this.decoder = new TextDecoder();
    this.waiting = []; // [text, token] for each token whose text has not arrived yet
  }

  // Returns [[text, token or null], …].
  push(text, tokens) {
    for (const token of tokens) {
      const piece = this.decoder.decode(new Uint8Array(token.bytes), { stream: true });
      this.waiting.push([piece, token]);
    }
    const pieces = [];
    let rest = text;
    while (rest && this.waiting.length) {
      const [piece, token] = this.waiting[0];
      if (!rest.startsWith(piece)) break;
      this.waiting.shift();
      if (piece) pieces.push([piece, token]);
      rest = rest.slice(piece.length);
    }
    if (rest) pieces.push([rest, null]);
    return pieces;
  }
}
