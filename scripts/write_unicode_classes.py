"""Write the native core's classes of characters, as the tokenizers' library has them.

``python scripts/write_unicode_classes.py`` after the library took up another version of Unicode,
which a test of ``tests/model/test_native_bpe.py`` tells.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import Regex, pre_tokenizers

_FILE = Path(__file__).parents[1] / "src/ingot/native/unicode_classes.cpp"
_CLASSES = {"kLetters": r"\p{L}", "kNumbers": r"\p{N}", "kSpaces": r"\s"}
_AT_ONCE = 4096


def main() -> None:
    """Replace the tables in the file."""
    lines = _FILE.read_text().splitlines()
    for name, pattern in _CLASSES.items():
        start = lines.index(f"constexpr Range {name}[] = {{") + 1
        lines[start : lines.index("};", start)] = rows(ranges(pattern))
    _FILE.write_text("\n".join(lines) + "\n")


def ranges(pattern: str) -> list[tuple[int, int]]:
    """Return the first and the last character of each range that a pattern matches."""
    split = pre_tokenizers.Split(Regex(pattern), behavior="removed")
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    found: list[tuple[int, int]] = []
    for start in range(0, len(characters), _AT_ONCE):
        some = characters[start : start + _AT_ONCE]
        others = {each for piece, _ in split.pre_tokenize_str("".join(some)) for each in piece}
        for code in (ord(each) for each in some if each not in others):
            if found and found[-1][1] == code - 1:
                found[-1] = found[-1][0], code
            else:
                found.append((code, code))
    return found


def rows(found: list[tuple[int, int]]) -> list[str]:
    """Return the lines of a table."""
    lines = [" " * 3]
    for first, last in found:
        item = f" {{0x{first:x}, 0x{last:x}}},"
        if len(lines[-1]) + len(item) > 100:
            lines.append(" " * 3)
        lines[-1] += item
    return lines


if __name__ == "__main__":
    main()
