#include "word_splitter.h"

#include <bit>
#include <cstring>

static_assert(std::endian::native == std::endian::little);

namespace ingot {

namespace {

char lower(char letter) { return static_cast<char>(letter | 0x20); }

// How many of eight bytes are letters of ASCII, up to the first that is none. A loop over them
// would be predicted wrongly at the end of nearly each word.
int ascii_letters(const char* from) {
  constexpr uint64_t kEach = 0x0101010101010101u;
  uint64_t bytes;
  std::memcpy(&bytes, from, sizeof(bytes));
  const uint64_t lower = (bytes | 0x20 * kEach) & 0x7f * kEach;
  const uint64_t from_a = lower + (0x80 - 'a') * kEach;  // the top bit of each byte tells
  const uint64_t after_z = lower + (0x80 - 'z' - 1) * kEach;
  const uint64_t others = ~(from_a & ~after_z & ~bytes) & 0x80 * kEach;
  return others ? std::countr_zero(others) / 8 : 8;  // the first byte is the lowest
}

bool is_space(CharClass kind) { return kind == CharClass::space || kind == CharClass::newline; }

}  // namespace

WordSplitter::Char WordSplitter::char_at(const char* at) const {
  const auto* byte = reinterpret_cast<const unsigned char*>(at);
  if (byte[0] < 0x80) return {classes_[byte[0]], at + 1};
  if (byte[0] < 0xe0) return {classes_[(byte[0] & 0x1fu) << 6 | (byte[1] & 0x3fu)], at + 2};
  uint32_t code = (byte[1] & 0x3fu) << 6 | (byte[2] & 0x3fu);
  if (byte[0] < 0xf0) return {classes_[(byte[0] & 0xfu) << 12 | code], at + 3};
  code = (byte[0] & 7u) << 18 | code << 6 | (byte[3] & 0x3fu);
  return {code < kClassified ? classes_[code] : CharClass::other, at + 4};
}

const char* WordSplitter::end_of_run(const char* at, CharClass kind, int64_t most) const {
  if (kind == CharClass::letter) {
    while (end_ - at >= 8 && most >= 8) {
      const int count = ascii_letters(at);
      at += count;
      most -= count;
      if (count < 8) break;
    }
  }
  for (; at != end_ && most > 0; --most) {
    const auto byte = static_cast<unsigned char>(*at);
    if (byte < 0x80) {  // nearly all characters of most texts
      if (classes_[byte] != kind) break;
      ++at;
      continue;
    }
    const Char next = char_at(at);
    if (next.kind != kind) break;
    at = next.after;
  }
  return at;
}

const char* WordSplitter::end_of_word(const char* start) const {
  const Char first = char_at(start);
  const int64_t run = rules_.longest_run;
  if (first.kind == CharClass::letter) return end_of_run(start, first.kind, run);
  if (first.kind == CharClass::number) return end_of_run(start, first.kind, rules_.most_digits);
  if (first.kind != CharClass::newline && first.after != end_) {
    if (*start == '\'') {
      if (const char* end = end_of_contraction(first.after)) return end;
    }
    const CharClass second = char_at(first.after).kind;
    if (second == CharClass::letter) return end_of_run(first.after, second, run);
    if (*start == ' ' && second == CharClass::other) {
      return end_of_run(end_of_run(first.after, second, run), CharClass::newline, run);
    }
  }
  if (first.kind == CharClass::other) {
    return end_of_run(end_of_run(start, first.kind, run), CharClass::newline, run);
  }
  return end_of_space(start);
}

// Return the end of what follows an apostrophe as 's or 'll do; null if nothing does.
const char* WordSplitter::end_of_contraction(const char* at) const {
  switch (lower(*at)) {
    case 's':
    case 'd':
    case 'm':
    case 't':
      return at + 1;
    case 'l':
    case 'v':
    case 'r':
      if (end_ - at < 2 || lower(at[1]) != (lower(*at) == 'l' ? 'l' : 'e')) return nullptr;
      return at + 2;
    default:  // U+017F is a form of the letter s
      return end_ - at > 1 && at[0] == '\xc5' && at[1] == '\xbf' ? at + 2 : nullptr;
  }
}

// White space ends with its last line, or else before the space in front of a word.
const char* WordSplitter::end_of_space(const char* start) const {
  const char* at = start;
  const char* before_last = nullptr;  // where the last character of the run begins
  const char* after_line = nullptr;
  int64_t taken = 0;
  for (; at != end_; ++taken) {
    const Char next = char_at(at);
    if (!is_space(next.kind)) break;
    if (next.kind == CharClass::newline) after_line = next.after;
    if (taken == rules_.longest_run) return after_line ? after_line : at;
    before_last = at;
    at = next.after;
  }
  if (after_line) return after_line;
  return at == end_ || taken == 1 ? at : before_last;
}

}  // namespace ingot
