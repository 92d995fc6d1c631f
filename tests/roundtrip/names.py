"""Names that a file system of Linux can hold, trees of files that have them, and the ways to send them as inputs."""

import base64
import unicodedata
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote

from hypothesis import strategies as st

LONGEST_NAME_BYTES = 255
MOST_PATH_BYTES = 900
"""Percent-encoded, a path of this length still fits into a request line."""

Tree: TypeAlias = dict[str, Any]
"""A directory: by its name the text of a file, or the tree of a folder."""

# Names that people, tools and missions give, and names that mean something to what they pass on the way.
KNOWN = (
    ".zgroup", ".zattrs", "0.0", "..data", "...", ".env", "env", "-rf", "--help", "-", "~", "~root", "*", "?", "[ab]",
    "T10:00:00Z.tif", "a:b.tif", "a;b.tif", "a#b", "#", "100% (final).txt", "%41", "A", "%2F", "%2e%2e", "%", "%zz",
    "%C3%A9", "a?b=c&d", "year=2024", "x+y", "x y", " ", "  a", "a ", "a\nb", "\n", "\t", "\r", "a\\b", "\\", "'", '"',
    "`id`", "$HOME", "$(id)", "$(inputs.x)", "${1}", "{a}", "<b>", "a|b", "a,b", "a@b", "!", "^", "é", "e\u0301",
    "東京.tif", "大阪.tif", "Überflutung.txt", "😀", "\u202egnp.exe", "\u200b", "\ufeff", "\ufffd", "\x7f", "\x01",
    "\x1b[31m", "index.html", "results", "links", "files", "catalog.json", "0", "1", "null", "CON", "nul", "a.",
    "a.b.c.d", "_", "__",
    "S3A_SL_1_RBT____20180817T185806_20180817T190106_20180817T205124_0179_034_341_2520_LN2_O_NR_003.SEN3.zip",
    "n" * LONGEST_NAME_BYTES, "é" * 127, "洪" * 85,
)  # fmt: skip

_PIECES = st.sampled_from(
    [*"aA0._-~%#?&=+:;,@!$'\"\\`*()[]{}<>|^ \t\n\r\x01\x7f", "é", "e\u0301", "洪", "😀", "%2F", "%25", ".."]
)
_CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="/\0")


def _fits(name: str) -> bool:
    return name not in ("", ".", "..") and len(name.encode()) <= LONGEST_NAME_BYTES


def _cut(name: str) -> str:
    return name.encode()[:LONGEST_NAME_BYTES].decode(errors="ignore")


def names() -> st.SearchStrategy[str]:
    """Any name but `.` and `..`: text of at most 255 bytes without NUL and slash."""
    plain = st.text(_CHARACTERS, min_size=1, max_size=20)
    pieces = st.lists(_PIECES, min_size=1, max_size=8).map("".join)
    long = st.tuples(st.text(_CHARACTERS, min_size=1, max_size=4), st.integers(1, 255)).map(lambda it: it[0] * it[1])
    normal = st.builds(unicodedata.normalize, st.sampled_from(["NFC", "NFD", "NFKC"]), plain)
    either = st.one_of(st.sampled_from(KNOWN), pieces, plain, normal, long)
    return either.map(_cut).filter(_fits)


def contents() -> st.SearchStrategy[str]:
    """Text that an argument of a program can carry into a file."""
    return st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


def trees() -> st.SearchStrategy[Tree]:
    """Directories with some files and folders in them, empty ones too."""
    folders = st.recursive(
        st.dictionaries(names(), contents(), max_size=4),
        lambda inner: st.dictionaries(names(), contents() | inner, max_size=4),
        max_leaves=8,
    )
    return folders.filter(lambda tree: all(len(path.encode()) <= MOST_PATH_BYTES for path in paths(tree)))


def paths(tree: Tree, below: str = "") -> dict[str, str | None]:
    """The text of every file by its path, and None for every folder, in an order in which they can be made."""
    found: dict[str, str | None] = {}
    for name, inner in tree.items():
        if isinstance(inner, str):
            found[below + name] = inner
        else:
            found[below + name] = None
            found |= paths(inner, f"{below}{name}/")
    return found


def files(tree: Tree) -> dict[str, bytes]:
    """The bytes of every file by its path."""
    return {path: text.encode() for path, text in paths(tree).items() if text is not None}


def empty_folders(tree: Tree, below: str = "") -> set[str]:
    """The paths of the folders that hold nothing at all."""
    found: set[str] = set()
    for name, inner in tree.items():
        if not isinstance(inner, str):
            found |= empty_folders(inner, f"{below}{name}/") if inner else {below + name}
    return found


@dataclass(frozen=True)
class Thing:
    """A file or a directory as an execute request brings it."""

    way: str
    """`value`, `class` or `href`."""
    name: str
    content: bytes | Tree

    def shown(self, origin: str) -> dict[str, Any]:
        """The value in the request; `origin` is where links lead."""
        if not isinstance(self.content, bytes):
            return _directory(self.name, self.content)
        if self.way == "href":
            return {"href": origin + self.path}
        if self.way == "class":
            return {"class": "File", "basename": self.name, "contents": self.content.decode()}
        encoded = base64.b64encode(self.content).decode()
        return {"name": self.name, "value": encoded, "encoding": "base64", "mediaType": "application/octet-stream"}

    @property
    def path(self) -> str:
        """Where a link to it leads."""
        return f"/{quote(self.name, safe='')}"


def things() -> st.SearchStrategy[Thing]:
    """Files with any bytes, or text where JSON carries them, and directories."""
    return st.one_of(
        st.builds(Thing, st.sampled_from(["value", "href"]), names(), st.binary(max_size=50)),
        st.builds(Thing, st.just("class"), names(), contents().map(str.encode)),
        st.builds(Thing, st.just("class"), names(), trees()),
    )


def _directory(name: str, tree: Tree) -> dict[str, Any]:
    listing = [
        {"class": "File", "basename": inner, "contents": content}
        if isinstance(content, str)
        else _directory(inner, content)
        for inner, content in tree.items()
    ]
    return {"class": "Directory", "basename": name, "listing": listing}
