"""The text of a package as a reader of YAML can take it, who reads JSON too but for one of its escapes."""

import json
import re

_PAIR = re.compile(r"(?<!\\)((?:\\\\)*)\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})", re.IGNORECASE)


def package_text(content: bytes) -> str:
    """Returns the text of a package. Where JSON writes a character as a pair of escapes (RFC 8259, section 7), which
    YAML does not know, the character itself stands.

    Raises UnicodeDecodeError.
    """
    text = content.decode("utf-8")
    if _PAIR.search(text) is None or not _is_json(text):
        return text
    return _PAIR.sub(_character, text)


def _character(pair: re.Match[str]) -> str:
    return pair[1] + bytes.fromhex(pair[2] + pair[3]).decode("utf-16-be")


def _is_json(text: str) -> bool:
    """Says whether a text is JSON, where a backslash stands in a string only."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
