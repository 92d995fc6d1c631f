"""What stops a service before it starts."""

import pytest

from services.serving.settings import load
from services.status.settings import Settings

LEAST = {
    "STATUS_LISTEN": "unix:/run/status.sock",
    "STATUS_DATABASE": "postgresql://status:word@db.example/workflow_runner",
    "STATUS_IDENTITY__ISSUER": "https://issuer.example",
    "STATUS_IDENTITY__AUDIENCE": '["workflow-runner"]',
    "STATUS_IDENTITY__JWKS": "https://issuer.example/certs",
    "STATUS_ARTIFACTS__URL": "s3://bucket/prefix",
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in LEAST.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    "value",
    [None, "", "ades.example", "//ades.example", "ftp://ades.example", "https://", "https://ades.example?x",
     "https://a b/", "https://user@ades.example", "Request", "https://ades.example/\nx"],
)  # fmt: skip
def test_a_service_is_told_what_links_begin_with(
    value: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if value is not None:
        monkeypatch.setenv("STATUS_PUBLIC_URL", value)

    with pytest.raises(SystemExit, match="2"):
        load(Settings, [])

    assert "wrong setting: STATUS_PUBLIC_URL: Value error, say what links begin with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "root"),
    [("https://ades.example", "https://ades.example"), ("http://ades.example:8080/eo/", "http://ades.example:8080/eo/"),
     ("request", None)],
)  # fmt: skip
def test_links_begin_with_what_was_set_or_with_what_a_request_says(
    value: str, root: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATUS_PUBLIC_URL", value)

    assert root == load(Settings, []).public_root


def test_the_contract_cannot_be_asked_for_unless_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATUS_PUBLIC_URL", "https://ades.example")

    assert load(Settings, []).reflection is False
