"""Tokens of the standalone issuer, read by the verifier of the services."""

import stat
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from services.access.identity import IdentitySettings, TokenVerifier
from services.standalone.__main__ import main
from services.standalone.directory import DataDirectory
from services.standalone.tokens import AUDIENCE, ISSUER, Issuer

HOUR = timedelta(hours=1)


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


@pytest.fixture
async def verifier(issuer: Issuer) -> AsyncIterator[TokenVerifier]:
    settings = IdentitySettings(issuer=ISSUER, audience=(AUDIENCE,), jwks=str(issuer.jwks))
    async with TokenVerifier.open(settings) as verifier:
        yield verifier


async def test_a_service_reads_user_workspace_and_role(issuer: Issuer, verifier: TokenVerifier) -> None:
    token = issuer.user_token("demo", role="developer", user="ada", lifetime=HOUR)

    subject = await verifier.verify(f"Bearer {token}")

    assert "ada" == subject.id
    assert {"demo": "developer"} == subject.claims["workspaces"]


async def test_an_operator_has_no_role_in_the_workspace_itself(issuer: Issuer, verifier: TokenVerifier) -> None:
    token = issuer.user_token("demo", role="operator", user="ada", lifetime=HOUR)

    subject = await verifier.verify(f"Bearer {token}")

    assert not subject.claims["workspaces"]
    assert "workflow-runner-operator" in str(subject.claims)


async def test_ingestion_is_known_by_a_token_that_it_alone_reads(issuer: Issuer, verifier: TokenVerifier) -> None:
    issuer.write_ingestion_token(HOUR)

    subject = await verifier.verify(f"Bearer {issuer.ingestion_token.read_text()}")

    assert "ingestion" == subject.claims["workflow_runner_service"]
    assert 0o600 == stat.S_IMODE(issuer.ingestion_token.stat().st_mode)


async def test_the_key_stays_the_same_from_start_to_start(
    tmp_path: Path, issuer: Issuer, verifier: TokenVerifier
) -> None:
    token = Issuer(tmp_path).user_token("demo", role="owner", user="ada", lifetime=HOUR)

    assert "ada" == (await verifier.verify(f"Bearer {token}")).id
    assert 0o600 == stat.S_IMODE((tmp_path / "key.pem").stat().st_mode)


async def test_the_command_prints_only_the_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["token", "--data-dir", str(tmp_path / "new"), "--workspace", "demo", "--role", "viewer"])

    printed = capsys.readouterr()
    issuer = Issuer(DataDirectory(tmp_path / "new").identity)
    settings = IdentitySettings(issuer=ISSUER, audience=(AUDIENCE,), jwks=str(issuer.jwks))
    async with TokenVerifier.open(settings) as verifier:
        subject = await verifier.verify(f"Bearer {printed.out.strip()}")
    assert (0, "") == (code, printed.err)
    assert {"demo": "viewer"} == subject.claims["workspaces"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--workspace", "De_mo"], "'De_mo' is no name of a workspace"),
        (["--workspace", "../x"], "'../x' is no name of a workspace"),
        (["--workspace", "demo", "--role", "king"], "'king' is no role: choose viewer, executor"),
        (["--workspace", "demo", "--expires", "soon"], "'soon' is no duration"),
        (["--workspace", "demo", "--expires", "0h"], "'0h' is no duration"),
        (["--workspace", "demo", "--expires", "999999d"], "is too long for a token"),
        (["--workspace", "demo", "--user", " "], "' ' is no name of a user"),
    ],
)
def test_a_wrong_word_is_answered_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    code = main(["token", "--data-dir", str(tmp_path), *arguments])

    printed = capsys.readouterr()
    assert (2, "") == (code, printed.out)
    assert sentence in printed.err
    assert 1 == printed.err.count("\n")
