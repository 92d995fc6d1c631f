"""What expressions see of a directory that a caller gave: all of it, or as much as the package asks for."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from services.submission.backends.cwltool import Cwltool
from services.submission.staging.fetcher import Fetcher
from services.submission.staging.files import StageIn
from tests.backend_runs import run

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORMAT = "http://edamontology.org/format_3591"
DIRECTORY = {
    "class": "Directory",
    "basename": "scene",
    "listing": [
        {"class": "File", "basename": "b.tif", "contents": "b", "format": FORMAT, "taken": "today"},
        {
            "class": "Directory",
            "basename": "meta",
            "listing": [{"class": "File", "basename": "z", "contents": ""}],
        },
        {"class": "File", "basename": "a.tif", "contents": "a"},
    ],
}
SEEN = """${
    function names(d) {
        return d.listing && d.listing.map(function (e) { return [e.basename, e.format, e.taken, names(e)]; });
    }
    return {seen: names(inputs.d) || "none"};
}"""
SHALLOW = [["b.tif", FORMAT, "today", None], ["meta", None, None, None], ["a.tif", None, None, None]]
DEEP = [SHALLOW[0], ["meta", None, None, [["z", None, None, None]]], SHALLOW[2]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cwltool]:
    async with Cwltool.open(tmp_path_factory.mktemp("runs"), StageIn(Fetcher())) as opened:
        yield opened


def package(*, version: str = "v1.2", asked: dict[str, Any], required: dict[str, Any]) -> bytes:
    """An expression tool that tells the names and the members of all that it sees of a directory."""
    process = {
        "cwlVersion": version,
        "class": "ExpressionTool",
        "id": "look",
        "requirements": {"InlineJavascriptRequirement": {}, **required},
        "inputs": {"d": {"type": "Directory", **asked}},
        "outputs": {"seen": {"type": "Any"}},
        "expression": SEEN,
    }
    return json.dumps(process).encode()


@pytest.mark.parametrize(
    ("asked", "required", "expected"),
    [
        ({}, {}, DEEP),
        ({}, {"LoadListingRequirement": {"loadListing": "no_listing"}}, "none"),
        ({"loadListing": "no_listing"}, {}, "none"),
        ({"loadListing": "shallow_listing"}, {}, SHALLOW),
        ({"loadListing": "deep_listing"}, {}, DEEP),
        ({}, {"LoadListingRequirement": {"loadListing": "shallow_listing"}}, SHALLOW),
    ],
)
async def test_the_listing_that_expressions_see_is_the_one_that_the_caller_gave(
    backend: Cwltool, asked: dict[str, Any], required: dict[str, Any], expected: Any
) -> None:
    ended = await run(backend, package(asked=asked, required=required), {"d": DIRECTORY})

    assert {"seen": expected} == ended.outputs


async def test_packages_of_the_first_version_see_the_whole_listing(backend: Cwltool) -> None:
    ended = await run(backend, package(version="v1.0", asked={}, required={}), {"d": DIRECTORY})

    assert {"seen": DEEP} == ended.outputs


async def test_a_directory_comes_out_as_it_was_given_whatever_is_seen_of_it(backend: Cwltool) -> None:
    document = {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "id": "copy",
        "requirements": {"InlineJavascriptRequirement": {}},
        "baseCommand": ["sh", "-c", 'cp -RL "$0" made; echo "$1" >made/seen'],
        "inputs": {
            "d": {
                "type": "Directory",
                "loadListing": "deep_listing",
                "inputBinding": {"position": 1},
            }
        },
        "arguments": [{"position": 2, "valueFrom": "$(inputs.d.listing.length)"}],
        "outputs": {
            "made": {"type": "Directory", "outputBinding": {"glob": "made"}},
            "same": {"type": "Directory", "outputBinding": {"outputEval": "$(inputs.d)"}},
        },
    }

    ended = await run(backend, json.dumps(document).encode(), {"d": DIRECTORY})

    root = ended.last.output_root
    assert root is not None, ended
    files = {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}
    given = {"a.tif": "a", "b.tif": "b", "meta/z": ""}
    expected = {f"{name}/{path}": text for name in ("made", "scene") for path, text in given.items()}
    assert {**expected, "made/seen": "3\n"} == files
