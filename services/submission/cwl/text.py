"""The text of a package as a scanner of YAML can take it, and where each place of that lies in the text that was sent.

JSON is written anew where the scanner would refuse it or read something else: it takes more characters for ends of
lines than JSON and YAML 1.2 do, takes some not at all, does not know pairs of escapes, and wants a key to be short and
its colon on the same line.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson

MARK = "\ufeff"
"""The byte order mark. In front of a text it is none of its characters; the scanner never counts it."""

_LONGEST_KEY = 1024
"""With what stands between it and its colon. A longer key has to be announced (YAML 1.2, 7.4.2)."""

_BREAK = re.compile(r"\r\n|\r|\n")
_MARK_OR_BREAK = re.compile(rf"{MARK}|{_BREAK.pattern}")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_COLON = re.compile(r"[ \t\r\n]*:")
_MISREAD = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff"
_ODD = re.compile(rf"\\u(d[89ab][0-9a-f]{{2}})\\u(d[c-f][0-9a-f]{{2}})|\\.|[{_MISREAD}{MARK}]", re.IGNORECASE)
_MISREAD_CHARACTER = re.compile(f"[{_MISREAD}]")


@dataclass(frozen=True)
class PackageText:
    """A text for the scanner. Its lines are those of the text that was sent, its columns nearly so."""

    text: str
    is_json: bool
    shifts: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """By line: from which column on a column lies so much further to the right in the text that was sent."""

    def sent(self, line: int, column: int) -> tuple[int, int]:
        """Returns where a place of this text lies in the text that was sent; all are counted from 1."""
        shifts = self.shifts.get(line, [])
        index = bisect_right(shifts, (column, len(self.text) * 12))
        return line, column + (shifts[index - 1][1] if index else 0)


def decode(content: bytes) -> str:
    """Returns the text of a package as it was sent, without a byte order mark. Raises UnicodeDecodeError."""
    return content.decode("utf-8").removeprefix(MARK)


def package_text(sent: str) -> PackageText:
    """Returns a text for the scanner: JSON as the scanner reads it right, anything else as it was sent."""
    return _rewritten(sent) if _is_json(sent) else PackageText(sent, False, _uncounted(sent))


def position(text: str, index: int) -> tuple[int, int]:
    """Returns the line and column of a character, both counted from 1."""
    breaks = [found.end() for found in _BREAK.finditer(text, 0, index)]
    return len(breaks) + 1, index - (breaks[-1] if breaks else 0) + 1


def misread(text: str) -> int | None:
    """Returns the index of the first character of a YAML text that the scanner refuses, or takes for the end of a line
    although YAML 1.2 has it as content (5.4); None when there is none."""
    found = _MISREAD_CHARACTER.search(text)
    return found.start() if found else None


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _rewritten(text: str) -> PackageText:
    """Writes JSON for the scanner. Outside of strings JSON and YAML are the same but for keys."""
    pieces: list[str] = []
    shifts: dict[int, list[tuple[int, int]]] = {}
    line, line_start, written, shift, end = 1, 0, 0, 0, 0
    for start, string_end, new in _changes(text):
        between = text[end:start]
        for found in _BREAK.finditer(between):
            line, line_start, shift = line + 1, written + found.end(), 0
        pieces += between, new
        written += len(between)
        prefix = 2 if new.startswith("?") else 0
        if prefix:
            shift -= prefix
            shifts.setdefault(line, []).append((written + prefix - line_start + 1, shift))
        written += len(new)
        shift += string_end - start - (len(new) - prefix)
        shifts.setdefault(line, []).append((written - line_start + 1, shift))
        end = string_end
    return PackageText("".join([*pieces, text[end:]]), True, shifts)


def _changes(text: str) -> Iterator[tuple[int, int, str]]:
    """Yields the strings of a JSON text that must be written otherwise: start, end, and how."""
    for found in _STRING.finditer(text):
        string = found[0]
        new = _ODD.sub(_escape, string)
        colon = _COLON.match(text, found.end())
        if colon is not None:
            between = colon[0]
            if len(new) + len(between) > _LONGEST_KEY or "\n" in between or "\r" in between:
                new = f"? {new}"
        if new != string:
            yield found.start(), found.end(), new


def _escape(odd: re.Match[str]) -> str:
    if odd[1]:
        return f"\\U{ord(bytes.fromhex(odd[1] + odd[2]).decode('utf-16-be')):08x}"
    return odd[0] if odd[0].startswith("\\") else f"\\u{ord(odd[0]):04x}"


def _uncounted(text: str) -> dict[int, list[tuple[int, int]]]:
    """Returns the shifts of a text in which the scanner does not count some characters."""
    shifts: dict[int, list[tuple[int, int]]] = {}
    if MARK not in text:
        return shifts
    line, line_start, shift = 1, 0, 0
    for found in _MARK_OR_BREAK.finditer(text):
        if found[0] == MARK:
            shift += 1
            shifts.setdefault(line, []).append((found.end() - line_start - shift + 1, shift))
        else:
            line, line_start, shift = line + 1, found.end(), 0
    return shifts
