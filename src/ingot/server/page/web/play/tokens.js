// From what a stream says of its tokens to pieces of text with their odds.

// Both routes' forms become { bytes, logprob, top: [[text, logprob], …] }.
export function read(choice) {
  const said = choice.logprobs;
  if (!said) return [];
  if (said.content) return said.content.map(({ bytes, token, logprob, top_logprobs }) => ({
    bytes: bytes ?? encode(token),
    logprob,
    top: top_logprobs.map((entry) => [entry.token, entry.logprob]),
  }));
  return said.tokens.map((token, place) => ({
    bytes: encode(token),
    logprob: said.token_logprobs[place],
    top: Object.entries(said.top_logprobs[place] ?? {}).sort((a, b) => b[1] - a[1]),
  }));
}

// A token that is not whole UTF-8 comes as bytes:\xe2\x82, as OpenAI writes it.
function encode(token) {
  if (!token.startsWith("bytes:")) return [...new TextEncoder().encode(token)];
  return [...token.matchAll(/\\x([0-9a-f]{2})/g)].map(([, hex]) => parseInt(hex, 16));
}

// Cuts the text of a stream into its tokens. The text is what counts: where the tokens do not
// add up to it, for example because a stop text was left out, what is over has no odds.
export class Splitter {
  constructor() {
    this.decoder = new TextDecoder();
    this.waiting = []; // tokens whose text has not come yet: [text, token]
  }

  push(text, tokens) {
    for (const token of tokens) {
      const piece = this.decoder.decode(new Uint8Array(token.bytes), { stream: true });
      this.waiting.push([piece, token]);
    }
    const pieces = [];
    while (text && this.waiting.length) {
      const [piece, token] = this.waiting[0];
      if (!text.startsWith(piece)) break;
      this.waiting.shift();
      if (piece) pieces.push([piece, token]);
      text = text.slice(piece.length);
    }
    if (text) pieces.push([text, null]);
    return pieces;
  }
}
