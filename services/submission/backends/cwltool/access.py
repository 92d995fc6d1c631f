"""What the engine may read for a package: the package itself, and files of the run. Nothing else, by any name."""

import os
import urllib.parse
from typing import Any

from cwltool.errors import WorkflowException
from cwltool.stdfsaccess import StdFsAccess
from schema_salad.exceptions import ValidationException
from schema_salad.fetcher import DefaultFetcher

REFUSED_REFERENCE = "refers to {url}, which is outside of the package"
REFUSED_FILE = "is outside of the files of the job"


class PackageFetcher(DefaultFetcher):
    """Reads the package, which its cache holds, and what the engine itself knows; refuses everything else."""

    def fetch_text(self, url: str, content_types: list[str] | None = None) -> str:
        text = self.cache.get(url)
        if isinstance(text, str):
            return text
        raise ValidationException(f"The package {REFUSED_REFERENCE.format(url=url)}.")

    def check_exists(self, url: str) -> bool:
        return url in self.cache


class ConfinedFiles(StdFsAccess):
    """Access to files below one directory, after all links are followed."""

    root = "/"

    @classmethod
    def below(cls, root: str) -> type["ConfinedFiles"]:
        """The access class of a run, as the engine asks for one: a class it calls with a base directory."""
        return type("RunFiles", (cls,), {"root": os.path.realpath(root)})

    def _abs(self, p: str) -> str:
        if urllib.parse.urlsplit(p).scheme not in ("", "file"):
            raise WorkflowException(f"{p} {REFUSED_FILE}.")
        path = str(super()._abs(p))
        real = os.path.realpath(path)
        if real != self.root and not real.startswith(self.root + "/"):
            raise WorkflowException(f"{p} {REFUSED_FILE}.")
        return path

    def glob(self, pattern: str) -> list[str]:
        found: list[str] = []
        for location in super().glob(pattern):
            self._abs(location)
            found.append(location)
        return found

    def listdir(self, fn: str) -> list[str]:
        entries: list[str] = super().listdir(fn)
        for entry in entries:
            self._abs(entry)
        return entries

    def realpath(self, path: str) -> str:
        return os.path.realpath(self._abs(path))

    def open(self, fn: str, mode: str) -> Any:
        return super().open(fn, mode)
