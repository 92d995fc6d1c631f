"""What the engine may read for a package: the package itself, and files of the run. Nothing else, by any name."""

import contextlib
import os
import stat
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import Any

from cwltool.errors import WorkflowException
from cwltool.pathmapper import PathMapper
from cwltool.stdfsaccess import StdFsAccess
from schema_salad.exceptions import ValidationException
from schema_salad.fetcher import DefaultFetcher

from services.shared.keys import shown

OUTSIDE = "is outside of the files of the job"
LEAVES = "is a link that leaves the files of the job"
AROUND = "is a link to a directory around itself"
SPECIAL = "is neither a file nor a directory"
NOWHERE = "is a link to nothing"
CLOSED = "cannot be read"
NO_NAME = "has a name that is no UTF-8"
REFUSALS = (LEAVES, AROUND, SPECIAL, NOWHERE, CLOSED, NO_NAME)
"""Why a file of a step is not taken as an output."""


class PackageFetcher(DefaultFetcher):
    """Reads the package, which its cache holds, and what the engine itself knows; refuses everything else."""

    def fetch_text(self, url: str, content_types: list[str] | None = None) -> str:
        text = self.cache.get(url)
        if isinstance(text, str):
            return text
        raise ValidationException(f"The package refers to {url}, which is outside of the package.")

    def check_exists(self, url: str) -> bool:
        return url in self.cache


def check_path(path: str, roots: Sequence[str]) -> None:
    """Raises WorkflowException unless a path is below one of the roots, as it is written and as links make it."""
    if not is_below(os.path.normpath(path), roots):
        raise WorkflowException(f"{path} {OUTSIDE}.")
    real = os.path.realpath(path)
    if not is_below(real, roots):
        raise WorkflowException(f"{path} {LEAVES}.")
    if os.path.islink(path) and is_below(os.path.realpath(os.path.dirname(path)), [real]):
        raise WorkflowException(f"{path} {AROUND}.")


def is_below(path: str, roots: Sequence[str]) -> bool:
    """Whether a path is one of the roots or lies in one."""
    return any(path == root or path.startswith(root + "/") for root in roots)


@contextlib.contextmanager
def _names() -> Iterator[None]:
    """Says which name the engine could not make a location of."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise WorkflowException(f"{shown(os.path.basename(str(error.object)))} {NO_NAME}.") from error


class ConfinedFiles(StdFsAccess):
    """Access to files below some directories, after all links are followed."""

    roots: Sequence[str] = ()

    @classmethod
    def below(cls, *roots: str) -> type["ConfinedFiles"]:
        """The access class of a run, as the engine asks for one: a class it calls with a base directory."""
        return type("FilesOfTheRun", (cls,), {"roots": roots})

    def _abs(self, p: str) -> str:
        if urllib.parse.urlsplit(p).scheme not in ("", "file"):
            raise WorkflowException(f"{p} {OUTSIDE}.")
        path = str(super()._abs(p))
        check_path(path, self.roots)
        return path

    def glob(self, pattern: str) -> list[str]:
        base = self.basedir.removeprefix("file://")
        if base and not is_below(os.path.normpath(os.path.join(base, pattern)), [os.path.normpath(base)]):
            raise WorkflowException(f"{pattern} {OUTSIDE}.")
        with _names():
            found: list[str] = super().glob(pattern)
        for location in found:
            path = self._abs(location)
            self._check_kind(path)
            if not os.path.exists(path):
                raise WorkflowException(f"{path} {NOWHERE}.")
            if not os.access(path, os.R_OK):
                raise WorkflowException(f"{path} {CLOSED}.")
        return found

    def open(self, fn: str, mode: str) -> Any:
        self._check_kind(self._abs(fn))
        return super().open(fn, mode)

    def listdir(self, fn: str) -> list[str]:
        with _names():
            found: list[str] = super().listdir(fn)
        for location in found:
            self._check_kind(self._abs(location))
        return found

    def realpath(self, path: str) -> str:
        return os.path.realpath(self._abs(path))

    def _check_kind(self, path: str) -> None:
        # Opening a pipe would wait for ever.
        if os.path.exists(path) and not stat.S_ISREG(mode := os.stat(path).st_mode) and not stat.S_ISDIR(mode):
            raise WorkflowException(f"{path} {SPECIAL}.")


class ConfinedPathMapper(PathMapper):
    """Maps files to the places where a step finds them, and refuses those the job does not own."""

    roots: Sequence[str] = ()

    @classmethod
    def below(cls, *roots: str) -> type["ConfinedPathMapper"]:
        """The mapper class of a run."""
        return type("PathsOfTheRun", (cls,), {"roots": roots})

    def visit(self, obj: Any, stagedir: str, basedir: str, copy: bool = False, staged: bool = False) -> None:
        location = str(obj["location"])
        if not location.startswith("_:"):
            parts = urllib.parse.urlsplit(location)
            if parts.scheme not in ("", "file"):
                raise WorkflowException(f"{location} {OUTSIDE}.")
            path = urllib.parse.unquote(parts.path) if parts.scheme else location
            check_path(os.path.join(basedir.removeprefix("file://"), path), self.roots)
        super().visit(obj, stagedir, basedir, copy=copy, staged=staged)
