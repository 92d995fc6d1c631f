"""Brings what a run hands out to one place: every file and directory under its name, with its content.

What a step left may be a link: to an input, to what another step made, to something beside it. Whatever belongs to the
job comes out as content, once for each place where it stands; only what leaves the job is refused. Names are kept. Two
outputs may have one name, since steps choose names without knowing each other, so one of them gets a directory of its
own; in a directory or beside a file, where both would have to lie in one place, that is refused.
"""

import os
import shutil
import stat
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from services.shared.keys import name_problem, shown

from .access import AROUND, CLOSED, LEAVES, SPECIAL, is_below

DEEPEST = 128
MOST_COPIES = 20_000
"""Links to directories multiply: a few of them can stand for more files than anybody wants."""


class OutputRefusedError(Exception):
    """An output cannot be handed out; the message is a sentence."""


def hand_out(outputs: dict[str, Any], target: Path, roots: Sequence[str]) -> None:
    """Places all files and directories of an output object below `target` and changes their locations.

    `roots` are the directories of the job's own files. Raises OutputRefusedError.
    """
    for name, value in outputs.items():
        for entry in _entries(value):
            directory = target
            if os.path.lexists(target / _basename(name, entry)):
                directory = _free_directory(target)
            _Output(name, roots).place(entry, directory, {})


def _entries(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if value.get("class") in ("File", "Directory"):
            yield value
        else:
            for inner in value.values():
                yield from _entries(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _entries(inner)


def _free_directory(target: Path) -> Path:
    number = 2
    while os.path.lexists(directory := target / f"~{number}"):
        number += 1
    directory.mkdir()
    return directory


class _Output:
    """One file or directory of an output, on its way."""

    def __init__(self, name: str, roots: Sequence[str]) -> None:
        self._name = name
        self._roots = roots
        self._copies = 0

    def place(self, entry: dict[str, Any], directory: Path, taken: dict[str, str]) -> None:
        """Places an entry in a directory, of which `taken` tells what has which name."""
        basename = _basename(self._name, entry)
        source = _path(entry)
        what = basename if source is None else self._shown(source)
        if basename in taken:
            raise self._refused(f"has two entries that are called {shown(basename)}: {taken[basename]} and {what}")
        taken[basename] = what
        target = directory / basename
        if source is not None:
            self._copy(self._real(source, what), os.fspath(target), basename, ())
        elif entry["class"] == "Directory":
            target.mkdir()
            inside: dict[str, str] = {}
            for inner in entry.get("listing") or ():
                self.place(inner, target, inside)
        elif isinstance(entry.get("contents"), str):
            try:
                target.write_bytes(entry["contents"].encode())
            except UnicodeEncodeError:
                raise self._refused(f"has {what}, whose content is no UTF-8") from None
        else:
            raise self._refused(f"has {what}, which has no content")
        entry["location"] = target.as_uri()
        for field in ("contents", "listing", "path"):
            entry.pop(field, None)
        for beside in entry.get("secondaryFiles") or ():
            self.place(beside, directory, taken)

    def _copy(self, source: str, target: str, shown_as: str, jumps: tuple[str, ...]) -> None:
        """Copies a file or directory that is no link; `jumps` are the directories whose links led here."""
        self._copies += 1
        kind = os.lstat(source).st_mode
        if stat.S_ISREG(kind):
            if not os.access(source, os.R_OK):
                raise self._refused(f"holds {shown_as}, which {CLOSED}")
            _link_or_copy(source, target)
            return
        if not stat.S_ISDIR(kind):
            raise self._refused(f"holds {shown_as}, which {SPECIAL}")
        if shown_as.count("/") >= DEEPEST:
            raise self._refused(f"is nested more than {DEEPEST} directories deep")
        os.mkdir(target)
        try:
            names = sorted(os.listdir(source))
        except OSError:
            raise self._refused(f"holds {shown_as}, which {CLOSED}") from None
        for name in names:
            self._copy_entry(os.path.join(source, name), os.path.join(target, name), f"{shown_as}/{shown(name)}", jumps)

    def _copy_entry(self, source: str, target: str, shown_as: str, jumps: tuple[str, ...]) -> None:
        if (problem := name_problem(os.path.basename(source))) is not None:
            raise self._refused(f"holds {shown_as}, whose name {problem}")
        if not os.path.islink(source):
            self._copy(source, target, shown_as, jumps)
            return
        if self._copies > MOST_COPIES:
            raise self._refused(f"holds links to directories that stand for more than {MOST_COPIES} files")
        real = self._real(source, shown_as)
        jumps = (*jumps, os.path.dirname(source))
        if any(is_below(place, [real]) for place in jumps):
            raise self._refused(f"holds {shown_as}, which {AROUND}")
        self._copy(real, target, shown_as, jumps)

    def _real(self, path: str, shown_as: str) -> str:
        """Where a path leads. Raises OutputRefusedError when that is nowhere, or outside of the job."""
        real = os.path.realpath(path)
        if not is_below(real, self._roots):
            raise self._refused(f"holds {shown_as}, which {LEAVES}")
        if os.path.lexists(real) and not os.path.islink(real):
            return real
        if os.path.islink(path):
            where = shown(os.readlink(path))
            raise self._refused(f"holds {shown_as}, which is a link to {where}, and there is nothing")
        raise self._refused(f"holds {shown_as}, which is not there")

    def _shown(self, path: str) -> str:
        """A path as the job knows it."""
        for root in self._roots:
            if is_below(path, [root]) and path != root:
                return shown(os.path.relpath(path, root))
        return shown(os.path.basename(path))

    def _refused(self, problem: str) -> OutputRefusedError:
        return OutputRefusedError(f"Output {shown(self._name)} {problem}.")


def _basename(name: str, entry: dict[str, Any]) -> str:
    source = _path(entry)
    basename = entry.get("basename") or os.path.basename(source or "")
    problem = name_problem(basename) if isinstance(basename, str) else "is no text"
    if problem is not None:
        raise OutputRefusedError(
            f"Output {shown(name)} has a file or directory whose name {problem}: {shown(str(basename))}."
        )
    return str(basename)


def _path(entry: dict[str, Any]) -> str | None:
    """The place of a file or directory; None for one that is described and nowhere yet."""
    location = entry.get("location") or entry.get("path")
    if not isinstance(location, str) or location.startswith("_:"):
        return None
    if location.startswith("file:"):
        location = urllib.parse.unquote(urllib.parse.urlsplit(location).path, errors="surrogateescape")
    return os.path.normpath(location)


def _link_or_copy(source: str, target: str) -> None:
    """Gives a file a second name where the file system can, so that a large one takes no time."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copyfile(source, target)
