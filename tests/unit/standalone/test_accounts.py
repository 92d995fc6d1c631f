"""What root opens to the groups of programs that gave it up."""

import os
import stat
from pathlib import Path

import pytest

from services.standalone.accounts import let_read, number_of, program_account
from services.standalone.databases import GivenDatabase

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives groups away")


def rights(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_gid, stat.S_IMODE(found.st_mode)


def test_a_group_reads_all_that_was_there_and_what_comes(tmp_path: Path) -> None:
    store, outside = tmp_path / "store", tmp_path / "outside"
    (store / "a").mkdir(parents=True)
    for path in (store / "a" / "closed", store / "a" / "open", outside):
        path.write_text("x")
    (store / "a" / "closed").chmod(0o600)
    (store / "a" / "open").chmod(0o666)
    outside.chmod(0o600)
    (store / "link").symlink_to(outside)
    (store / "second name").hardlink_to(outside)
    group = number_of("readers of artifacts")

    assert let_read(store, "readers of artifacts")

    (store / "a" / "later").write_text("x")
    assert {(group, 0o2750)} == {rights(store), rights(store / "a")}
    assert {(group, 0o640)} == {rights(store / "a" / "closed"), rights(store / "a" / "open")}
    assert group == rights(store / "a" / "later")[0]
    assert (0, 0o600) == rights(outside)


def test_what_was_given_is_looked_through_only_when_asked(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    assert let_read(store, "readers of packages")
    (store / "one").write_text("x")
    (store / "one").chmod(0o600)

    assert let_read(store, "readers of packages")
    assert 0o600 == rights(store / "one")[1]
    assert let_read(store, "readers of packages", again=True)
    assert 0o640 == rights(store / "one")[1]


def test_a_file_system_that_cannot_be_told_is_said_so() -> None:
    assert not let_read(Path("/proc/self/task"), "readers of packages")


def test_services_share_no_number_and_no_group_that_reads() -> None:
    status, ingestion = program_account("status"), program_account("ingestion")

    assert status.user != ingestion.user
    assert {number_of("users of the database")} == set(status.groups) & set(ingestion.groups)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("", None),
        ("?sslmode=verify-full&sslrootcert=/root/ca.pem", "sslmode, sslrootcert"),
        ("?connect_timeout=5", None),
    ],
)
def test_a_database_whose_client_reads_files_keeps_services_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, query: str, reason: str | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    database = GivenDatabase(f"postgresql://o:p@db/name{query}", passwords=tmp_path / "passwords.json")

    said = database.keeps_root()

    assert reason is None if said is None else said.endswith(f" sets {reason}")
