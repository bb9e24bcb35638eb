// Classes of characters, as the regular expressions of the tokenizers' library see them.
#pragma once

#include <cstdint>

namespace ingot {

enum class CharClass : uint8_t { other, letter, number, space, newline };

constexpr uint32_t kClassified = 0x323b0;  // every character from here on is of class `other`

// The classes of the characters below `kClassified`, by their code points.
const CharClass* char_classes();

}  // namespace ingot
