"""Text of unknown origin made safe for a terminal: characters that would act on it are shown, not sent."""

from __future__ import annotations

import re

_ACTING = (
    "\x00-\x08\x0b-\x1f"  # C0 but tab and newline: escape sequences, bells, carriage returns over the line
    "\x7f-\x9f"  # DEL and C1, among them a one-character start of escape sequences
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"  # invisible
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f"  # invisible, line ends, and what turns the direction of text
    "\u3164\ufeff\uffa0\ufff0-\ufffb"  # invisible
    "\ud800-\udfff"  # halves of characters, which no terminal takes
    "\U000e0000-\U000e0fff"  # tags, invisible
)
_UNSAFE = re.compile(f"[{_ACTING}]")
_UNSAFE_OR_NEWLINE = re.compile(f"[{_ACTING}\n]")


def visible(text: str) -> str:
    r"""Return text with every character that acts on a terminal, or is not seen, written as its code.

    Newlines and tabs stay.

    >>> visible("fine\x1b[2J\u202etxt.exe")
    'fine\\x1b[2J\\u202etxt.exe'
    """
    return _UNSAFE.sub(_code, text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    r"""Return :func:`visible` text without newlines: a cell of a table, a name, a title.

    >>> one_line("two\nlines")
    'two\\nlines'
    """
    if text.isascii() and text.isprintable():  # nearly every cell of every table
        return text
    return _UNSAFE_OR_NEWLINE.sub(_code, text)


def json_safe(document: str) -> str:
    r"""Return the same JSON document with those characters as ``\u`` escapes (they stand in strings only)."""
    return _UNSAFE.sub(_json_code, document)


def _code(found: re.Match[str]) -> str:
    character = found[0]
    if character in "\n\r":
        return "\\n" if character == "\n" else "\\r"
    number = ord(character)
    return (
        f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 65536 else f"\\U{number:08x}"
    )


def _json_code(found: re.Match[str]) -> str:
    number = ord(found[0])
    if number < 65536:
        return f"\\u{number:04x}"
    number -= 65536
    return f"\\u{0xD800 + (number >> 10):04x}\\u{0xDC00 + (number & 0x3FF):04x}"
