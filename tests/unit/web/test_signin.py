"""Where signing in may lead, and how people are told apart: the script of the page, run by the engine of a browser."""

import json
import subprocess
from pathlib import Path
from typing import Any

import playwright
import pytest

from services.web.assets import assets

NODE = Path(playwright.__file__).parent / "driver" / "node"
SCRIPT = next(asset.content for asset in assets() if asset.name == "tokens.js")
HERE = "http://localhost:8080/signin?next=x"


def evaluated(expression: str) -> Any:
    code = f"{SCRIPT}\nconsole.log(JSON.stringify({expression}));"
    done = subprocess.run([NODE, "--input-type=module"], input=code, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def place_here(wanted: str) -> Any:
    return evaluated(f"placeHere({json.dumps(wanted)}, {json.dumps(HERE)})")


@pytest.mark.parametrize(
    "wanted",
    [
        "",
        "workspaces/demo",
        "http://evil.example/",
        "https://localhost:8080/",
        "http://localhost:8081/",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "/\r\n/evil.example",
        "/\t\\evil.example",
        "\t//evil.example",
        " //evil.example",
        "\u0000//evil.example",
        "//localhost:8080@evil.example/",
        "//evil.example:8080/",
        "/\t/localhost:8081/",
        "javascript:alert(1)",
        "java\tscript:alert(1)",
        "data:text/html,x",
        "blob:http://localhost:8080/x",
        "http:evil.example",
        "http://localhost:8080.evil.example/",
        "//[::1",
    ],
)
def test_signing_in_leads_to_no_other_site(wanted: str) -> None:
    assert place_here(wanted) is None


@pytest.mark.parametrize(
    ("wanted", "place"),
    [
        ("/workspaces/demo/jobs?status=failed#x", "/workspaces/demo/jobs?status=failed#x"),
        ("/%2F/evil.example", "/%2F/evil.example"),
        ("/%09/evil.example", "/%09/evil.example"),
        ("/.//evil.example", "//evil.example"),
        ("/a/..//evil.example", "//evil.example"),
        ("/@evil.example", "/@evil.example"),
        ("//user:word@localhost:8080/x", "/x"),
    ],
)
def test_signing_in_leads_to_a_page_of_this_site(wanted: str, place: str) -> None:
    assert f"http://localhost:8080{place}" == place_here(wanted)


def test_people_are_told_apart_by_who_vouches_for_them() -> None:
    ada = {"sub": "1", "iss": "a", "preferred_username": "ada"}

    assert [True, False, False] == [
        evaluated(f"isPerson({json.dumps(ada)}, {json.dumps(other)})")
        for other in ({**ada, "preferred_username": "eve"}, {**ada, "sub": "2"}, {**ada, "iss": "b"})
    ]
    assert ["ada", "eve"] == evaluated(f"namesOf({json.dumps(ada)}, {{preferred_username: 'eve'}})")
    assert ["ada (1, a)", "ada (2, a)"] == evaluated(f"namesOf({json.dumps(ada)}, {json.dumps({**ada, 'sub': '2'})})")


@pytest.mark.parametrize("token", ["", "a", "a.b.c", "a.bnVsbA.c", "a.NQ.c"])
def test_what_is_no_token_says_nothing(token: str) -> None:
    assert evaluated(f"claims({json.dumps(token)})") is None
