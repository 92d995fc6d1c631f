"""Names and the keys of the object store that are made of them: kept apart, and inside of their job."""

import asyncio
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.records.artifacts import ArtifactSettings, ArtifactStore
from services.shared.keys import LONGEST_KEY, LONGEST_SEGMENT, key_segment, name_problem, object_key, shown

FOLDER = "jobs/ada/01a2106c/"
LETTERS = st.one_of(
    st.sampled_from("ab.~%#?&=+ :;@'\"()[]{}<>|\\*!$^`,-_/\n\t\r\x7f\x1b"),
    st.sampled_from(["é", "e\u0301", "東", "\U0001f6f0", "%2F", "%2e", "..", "~" * 3, "#1"]),
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
)
NAMES = st.lists(LETTERS, min_size=1, max_size=90).map("".join).filter(lambda name: name_problem(name) is None)
PATHS = st.lists(NAMES, min_size=1, max_size=6).map("/".join)
ODD = [
    ".zgroup",
    "東京.tif",
    "T10:00:00Z.tif",
    "a#b",
    "scene#1",
    "100% (final).txt",
    "what?",
    'quo"te',
    "line\nbreak",
    "tab\there",
    "\u00e9.txt",
    "e\u0301.txt",
    "x" * 255,
    "東" * 85,
    "~" + "0" * 64,
    "%2E%2E",
    "...",
    "back\\slash",
    " leading",
    "trailing ",
    "-rf",
    "*",
]


@given(first=PATHS, second=PATHS)
@settings(max_examples=500)
def test_two_names_never_share_a_key_or_a_url(first: str, second: str) -> None:
    same = first == second

    assert same == (object_key(FOLDER, "out", first) == object_key(FOLDER, "out", second))
    assert same == (quote(first) == quote(second))
    assert first == unquote(quote(first), errors="strict")


@given(path=PATHS, output=NAMES)
@settings(max_examples=500)
def test_a_key_stays_in_the_folder_of_its_job_and_fits_every_store(path: str, output: str) -> None:
    key = object_key(FOLDER, output, path)

    assert key.startswith(f"{FOLDER}outputs/")
    assert key.isascii()
    assert key.isprintable()
    assert not {"", ".", ".."} & set(key.split("/"))
    assert len(key) <= LONGEST_KEY
    assert all(len(segment) <= LONGEST_SEGMENT for segment in key.split("/"))


@pytest.mark.parametrize("name", ["index.html", "a-b_c.2.tif", "0.0", "GRANULE"])
def test_an_ordinary_name_is_its_key(name: str) -> None:
    assert name == key_segment(name)


@given(names=st.lists(NAMES, min_size=1, max_size=5, unique=True))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_stored_under_a_name_is_found_under_it(tmp_path: Path, names: list[str]) -> None:
    artifacts = ArtifactStore.open(ArtifactSettings(url=f"file://{tmp_path}/store"))

    async def store_and_read() -> list[bytes]:
        for name in names:
            await artifacts.put(object_key(FOLDER, "out", name), name.encode())
        return [await artifacts.get(object_key(FOLDER, "out", name)) for name in names]

    assert [name.encode() for name in names] == asyncio.run(store_and_read())


@pytest.mark.parametrize("name", ODD)
async def test_odd_names_are_kept(tmp_path: Path, name: str) -> None:
    artifacts = ArtifactStore.open(ArtifactSettings(url=f"file://{tmp_path}/store"))
    key = object_key(FOLDER, "out", f"{name}/{name}")

    await artifacts.put(key, b"content")

    assert name_problem(name) is None
    assert b"content" == await artifacts.get(key)
    assert [key] == [artifact.key for artifact in await artifacts.list(FOLDER)]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "is empty"),
        (".", "means a directory"),
        ("..", "means a directory"),
        ("a/b", "holds a slash"),
        ("a\0b", "holds a NUL"),
        ("caf\udce9", "is no UTF-8"),
        ("\ud800", "is no UTF-8"),
        ("x" * 256, "is longer than 255 bytes"),
        ("東" * 86, "is longer than 255 bytes"),
    ],
)
def test_what_is_no_name_of_a_file_is_told(name: str, problem: str) -> None:
    assert problem == name_problem(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [("a b.tif", "a b.tif"), ("caf\udce9", "caf\\xe9"), ("a\nb", "a\\nb"), ("\ud800", "?"), ("東京", "東京")],
)
def test_a_name_is_shown_on_one_line(name: str, said: str) -> None:
    assert said == shown(name)
