"""Documents lead where they say: links, anchors, files and targets are there, and the map has every room."""

import re
import subprocess
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
SERVICES = ROOT / "services"


def _documents() -> list[Path]:
    """All documents of the repository, those that are not committed yet included."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode == 0:
        return sorted(ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).exists())
    # An archive of the sources has no history to ask.
    folders = ("docs", "deploy", "examples", "services", "protos", "tests", "bench", ".github")
    return sorted([*ROOT.glob("*.md"), *(path for name in folders for path in (ROOT / name).rglob("*.md"))])


DOCUMENTS = _documents()
# Decisions and the changelog tell what was so when they were written.
PRESENT = [path for path in DOCUMENTS if path.name != "CHANGELOG.md" and "decisions" not in path.parts]


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _prose(path: Path) -> str:
    """A document without its blocks of code."""
    return re.sub(r"^( *)(```|~~~).*?^ *\2 *$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def _without_code(text: str) -> str:
    return re.sub(r"(`+).+?\1", "", text, flags=re.DOTALL)


def _targets(path: Path) -> set[str]:
    text = _without_code(_prose(path))
    inline = re.findall(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)", text)
    references = re.findall(r"^\s*\[[^\]]+\]:\s*<?([^\s>]+)", text, flags=re.MULTILINE)
    return {target for target in (*inline, *references) if not re.match(r"[a-z][a-z0-9+.-]*:", target)}


@cache
def _anchors(path: Path) -> set[str]:
    """The anchors of headings as code hosts make them: lower case, no punctuation, hyphens, numbers for repeats."""
    counts: dict[str, int] = {}
    anchors = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", path.read_text()))
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", _prose(path), flags=re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        count = counts[anchor] = counts.get(anchor, -1) + 1
        anchors.add(f"{anchor}-{count}" if count else anchor)
    return anchors


def _broken(document: Path) -> list[str]:
    broken = []
    for target in sorted(_targets(document)):
        place, _, anchor = target.partition("#")
        path = (document.parent / unquote(place)).resolve() if place else document
        if not path.is_relative_to(ROOT) or not path.exists():
            broken.append(f"{target}: no such file in the repository")
        elif anchor and path.suffix == ".md" and unquote(anchor) not in _anchors(path):
            broken.append(f"{target}: no such heading")
    return broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_links_lead_somewhere(document: Path) -> None:
    assert [] == _broken(document)


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "there.md").write_text("# The way: `a` & b\n\n```sh\n# no heading\n```\n\n## Twice\n\n## Twice\n")
    (tmp_path / "from.md").write_text(
        "[a](there.md) [b](there.md#the-way-a--b) [c](there.md#twice-1) [d](https://example.com/x) `[e](code.md)`\n"
        "[f](gone.md) [g](there.md#no-heading) [h](../../etc/passwd) [i](#here)\n\n[j]: gone.txt\n"
    )

    assert [
        "#here: no such heading",
        "../../etc/passwd: no such file in the repository",
        "gone.md: no such file in the repository",
        "gone.txt: no such file in the repository",
        "there.md#no-heading: no such heading",
    ] == _broken(tmp_path / "from.md")


@pytest.mark.parametrize("document", PRESENT, ids=_name)
def test_files_that_are_named_exist(document: Path) -> None:
    """A path in code style that begins with a folder of the repository, or names a module of it."""
    folders = "services|protos|gen|deploy|docs|tests|bench|examples"
    named = re.findall(rf"`((?:{folders})/[\w./-]*|[\w/-]+/[\w-]+\.(?:py|proto|sql))(?:::[^`]*)?`", _prose(document))
    bases = (ROOT, document.parent, SERVICES, SERVICES / "submission", ROOT / "tests")

    assert [] == sorted({path for path in named if not any((base / path).exists() for base in bases)})


@pytest.mark.parametrize("document", PRESENT, ids=_name)
def test_targets_that_are_named_exist(document: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    named = re.findall(r"(?:`|^ *)make ([a-z-]+)", document.read_text(), flags=re.MULTILINE)

    assert set() == set(named) - set(targets)


def test_the_readme_shows_what_can_be_made() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert f"\n```text\n{shown.stdout}```\n" in (ROOT / "README.md").read_text(), "copy what `make help` prints"


def test_the_map_names_every_room() -> None:
    """`docs/architecture.md` has a row for each package below services, by its path."""
    rooms = {path.parent.relative_to(ROOT).as_posix() for path in SERVICES.rglob("__init__.py")} - {"services"}
    section = (ROOT / "docs/architecture.md").read_text().split("\n## A map of every room\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(services/[\w/]+?)/?` \| (.+?) \|$", section, flags=re.MULTILINE)

    assert sorted(rooms) == sorted(path for path, _ in rows)
    assert [] == [path for path, line in rows if len(line) > 200]
