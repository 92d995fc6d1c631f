"""Names of files, and the keys under which the object store keeps what has them.

A name is kept bit for bit wherever people see it. A key is made of it so that every store takes it, and so that two
names never share one: percent-encoded (RFC 3986), and told by a digest where that would grow too long.
"""

from hashlib import sha256
from urllib.parse import quote

LONGEST_NAME = 255
"""In bytes, as file systems have it."""
LONGEST_SEGMENT = 200
"""Of a key. File systems take 255 bytes, and a local store needs a few of them while it writes."""
LONGEST_KEY = 900
"""Object stores take 1,024 bytes, the folder that the settings name included."""


def name_problem(name: str) -> str | None:
    """What keeps a name from being that of a file, as a clause; None when nothing does."""
    if not name:
        return "is empty"
    if name in (".", ".."):
        return "means a directory"
    if "/" in name:
        return "holds a slash"
    if "\0" in name:
        return "holds a NUL"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "is no UTF-8"
    return f"is longer than {LONGEST_NAME} bytes" if size > LONGEST_NAME else None


def shown(name: str) -> str:
    """A name for a message, with escapes for what is no text or would break the line."""
    text = name.encode("utf-8", "surrogateescape" if _is_bytes(name) else "replace").decode("utf-8", "backslashreplace")
    text = "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
    return text if len(text) <= 300 else f"{text[:200]}…{text[-99:]}"


def key_segment(name: str) -> str:
    """A name as one segment of a key. No two names have the same one."""
    encoded = quote(name, safe="").replace("~", "%7E")
    if encoded in (".", ".."):
        encoded = encoded.replace(".", "%2E")
    # The tilde stands in no encoded name, so a digest is never taken for one.
    return encoded if 0 < len(encoded) <= LONGEST_SEGMENT else f"~{sha256(name.encode()).hexdigest()}"


def object_key(folder: str, output: str, path: str = "") -> str:
    """Where a job keeps a file of an output; `path` is that of the file in the output. No two have the same one."""
    parts = [output, *(path.split("/") if path else [])]
    key = f"{folder}outputs/{'/'.join(map(key_segment, parts))}"
    if len(key) <= LONGEST_KEY:
        return key
    return f"{folder}outputs/~/{sha256('/'.join(map(key_segment, parts)).encode()).hexdigest()}"


def _is_bytes(name: str) -> bool:
    """Whether each half character stands for a byte of a name that is no UTF-8."""
    return all("\udc80" <= letter <= "\udcff" for letter in name if "\ud800" <= letter <= "\udfff")
