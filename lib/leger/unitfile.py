"""Unit files and quadlets as systemd.syntax(7) has them, with the line of every setting.

Tolerant: what is no setting is kept and named in `odd`, so that the text can be written back byte
for byte but for the settings that `replaced` changes.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

_SPACE = " \t\r\n"
_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", '"': '"', "'": "'", "s": " ",
}  # fmt: skip
_HEX = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})")


class Setting(NamedTuple):
    """One KEY=VALUE; `line` counts from 1, `end` is the last line that a continuation reaches."""

    section: str
    key: str
    value: str
    line: int
    end: int


@dataclass(frozen=True)
class UnitFile:
    """A unit file: its settings in order, and the lines that are no setting, section or comment.

    `dangling` holds the lines of continuations that an empty line or the file's end cuts short.
    """

    lines: tuple[str, ...]
    settings: tuple[Setting, ...]
    sections: tuple[tuple[str, int], ...] = ()
    odd: tuple[int, ...] = ()
    dangling: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str) -> UnitFile:
        """Read `text`; nothing is an error. The same text, which many ask for, is read once."""
        return _parse(text)

    def named(self, section: str, *keys: str) -> Iterator[Setting]:
        """The settings of `section` with one of `keys`, in order."""
        if len(keys) == 1:
            return iter(self._by_key.get((section, keys[0]), ()))
        found = [item for key in keys for item in self._by_key.get((section, key), ())]
        return iter(sorted(found, key=lambda item: item.line))

    @functools.cached_property
    def _by_key(self) -> Mapping[tuple[str, str], Sequence[Setting]]:
        found: dict[tuple[str, str], list[Setting]] = {}
        for item in self.settings:
            found.setdefault((item.section, item.key), []).append(item)
        return found

    def values(self, section: str, key: str) -> list[str]:
        """The values of a key that may be repeated; an empty one drops those before it."""
        values: list[str] = []
        for item in self.named(section, key):
            values = [*values, item.value] if item.value else []
        return values

    def last(self, section: str, key: str) -> str:
        """The value of a key that counts once; "" without it."""
        found = self._by_key.get((section, key))
        return found[-1].value if found else ""

    def replaced(self, changes: Mapping[Setting, str]) -> str:
        """The text with these settings' values changed, each on one line; the rest byte for byte.

        A change keeps the number of lines: comments inside a continuation follow it.
        """
        lines = list(self.lines)
        for item, value in changes.items():
            lines[item.line - 1] = f"{item.key}={value}"
            for number in range(item.line, item.end):
                if not _is_comment(lines[number]):
                    lines[number] = "#"
        return "\n".join(lines)


@functools.lru_cache(maxsize=4096)
def _parse(text: str) -> UnitFile:
    return _Reader(text).read()


def words(value: str) -> list[str]:
    """`value` split as quadlet and systemd.syntax(7) do: quotes group, C escapes count.

    A quote that is not closed reaches to the end.
    """
    found: list[str] = []
    position = 0
    while True:
        while position < len(value) and value[position] in _SPACE:
            position += 1
        if position == len(value):
            return found
        word, position = _word(value, position)
        found.append(word)


def options(arguments: Iterable[str], *names: str) -> Iterator[str]:
    """What follows each of the options `names` (--secret) as the next word or behind =."""
    remaining = iter(arguments)
    for argument in remaining:
        name, equals, value = argument.partition("=")
        if name in names:
            yield value if equals else next(remaining, "")


def _word(value: str, position: int) -> tuple[str, int]:
    parts: list[str] = []
    quote = ""
    while position < len(value):
        letter = value[position]
        position += 1
        if letter == "\\" and position < len(value):
            part, position = _escape(value, position)
            parts.append(part)
        elif letter == quote:
            quote = ""
        elif quote == "" and letter in "'\"":
            quote = letter
        elif quote == "" and letter in _SPACE:
            break
        else:
            parts.append(letter)
    return "".join(parts), position


def _escape(value: str, position: int) -> tuple[str, int]:
    match = _HEX.match(value, position)
    if match:
        digits = next(group for group in match.groups() if group)
        number = int(digits, 8 if match[4] else 16)
        is_letter = number < 0x110000 and not 0xD800 <= number < 0xE000
        return (chr(number) if is_letter else "�"), match.end()
    letter = value[position]
    return _ESCAPES.get(letter, f"\\{letter}"), position + 1


def _is_comment(line: str) -> bool:
    return line.lstrip(" \t").startswith(("#", ";"))


_new = tuple.__new__  # a named tuple's own takes twice as long


class _Reader:
    def __init__(self, text: str) -> None:
        self.lines = tuple(text.split("\n"))
        self.settings: list[Setting] = []
        self.sections: list[tuple[str, int]] = []
        self.odd: list[int] = []
        self.dangling: list[int] = []
        self.section = ""

    def read(self) -> UnitFile:
        after = 0
        for number, raw in enumerate(self.lines):
            line = raw.strip(_SPACE)
            if number < after or not line or line[0] in "#;":
                continue
            key, equals, value = line.partition("=")
            key = key.strip()
            if equals and key and line[0] != "[" and line[-1] != "\\":  # nearly all are this
                place = (self.section, key, value.strip(_SPACE), number + 1, number + 1)
                self.settings.append(_new(Setting, place))
            else:
                after = self._line(number, line)
        return UnitFile(
            self.lines,
            tuple(self.settings),
            tuple(self.sections),
            tuple(self.odd),
            tuple(self.dangling),
        )

    def _line(self, number: int, line: str) -> int:
        """Take in the logical line that begins at `number`; the number of the line behind it."""
        if line[0] == "[" and line[-1] == "]":
            self.section = line[1:-1]
            self.sections.append((self.section, number + 1))
            return number + 1
        text, after = self._joined(number) if line[-1] == "\\" else (line, number + 1)
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key or line[0] == "[":
            self.odd.append(number + 1)
            return after
        self.settings.append(Setting(self.section, key, value.strip(_SPACE), number + 1, after))
        return after

    def _joined(self, number: int) -> tuple[str, int]:
        """The logical line that begins at `number`, and the number of the line behind it."""
        start = number
        text = self.lines[number].strip(_SPACE)
        number += 1
        while text.endswith("\\"):
            text = text[:-1]
            while number < len(self.lines) and _is_comment(self.lines[number]):
                number += 1
            if number == len(self.lines) or not self.lines[number].strip(_SPACE):
                self.dangling.append(start + 1)
                break
            text += self.lines[number].strip(_SPACE)
            number += 1
        return text, number
