"""What is got is what was given: names of files, values and descriptions, through deploy, execute and results.

`make roundtrip` takes 2,000 examples; in `make test` there are a few that are always the same. A failure prints the
package and the request as they were sent.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.roundtrip.names import Thing, Tree, empty_folders, files, paths, things, trees
from tests.roundtrip.packages import FILES, TREES, echo, fits_arguments, output_of
from tests.roundtrip.trips import deploy, execute, fetch, process_id, results, share, written
from tests.roundtrip.values import NAMES, Parameter, parameters, same
from tests.support.doors import Workspace
from tests.support.listeners import Origin
from tests.support.schemas import accepts

pytestmark = pytest.mark.xdist_group("roundtrip")


def unqualified(shown: Any) -> Any:
    """What a results document shows, without what it says of the media type of JSON."""
    return shown["value"] if isinstance(shown, dict) and shown.get("mediaType") == "application/json" else shown


def found_below(workspace: Workspace, directory: Mapping[str, Any]) -> tuple[dict[str, bytes], set[str]]:
    """The bytes of every file of a directory that results show, and its empty folders."""
    found = {}
    for file in directory["files"]:
        assert unquote(file["href"]).endswith(f"/{file['path']}"), file
        found[file["path"]] = fetch(workspace, file["href"])
    return found, set(directory.get("emptyDirectories", ()))


@share(35, few=6)
@given(tree=trees())
def test_trees_come_out_as_the_tool_made_them(workspace: Workspace, tree: Tree) -> None:
    written(TREES)
    made = paths(tree)
    entries = [word for path, text in made.items() for word in ((f"{path}/", "") if text is None else (path, text))]

    shown = results(workspace, execute(workspace, "trees", {"entries": entries}))

    described = workspace.ask("/processes/trees").json["outputs"]
    assert all(accepts(described[output]["schema"], unqualified(value)) for output, value in shown.items()), shown
    for output in ("tree", "copied"):
        directory = unqualified(shown[output])
        assert output == directory["name"]
        assert (files(tree), empty_folders(tree)) == found_below(workspace, directory)
    listed: dict[str, Any] = {}
    for entry in map(unqualified, shown["listed"]):
        name = entry["name"] if "files" in entry else unquote(entry["href"].rpartition("/")[2])
        assert name not in listed
        listed[name] = found_below(workspace, entry) if "files" in entry else fetch(workspace, entry["href"])
    expected = {
        name: inner.encode() if isinstance(inner, str) else (files(inner), empty_folders(inner))
        for name, inner in tree.items()
    }
    assert expected == listed


@share(30, few=6)
@given(brought=st.lists(things(), min_size=1, max_size=4))
def test_files_keep_their_names_on_the_way_in(workspace: Workspace, origin: Origin, brought: list[Thing]) -> None:
    written(FILES)
    for thing in brought:
        if thing.way == "href" and isinstance(thing.content, bytes):
            origin.pages[thing.path] = (200, {}, thing.content)
    # One address has one content.
    assume(len({thing.path for thing in brought}) == len(brought))

    job = execute(workspace, "files", {"things": [thing.shown(origin.url) for thing in brought]})

    found: dict[str, bytes] = {}
    empty: set[str] = set()
    for number, thing in enumerate(brought, 1):
        if isinstance(thing.content, bytes):
            found[f"{number}/{thing.name}"] = thing.content
        else:
            found |= {f"{number}/{thing.name}/{path}": content for path, content in files(thing.content).items()}
            empty |= {f"{number}/{thing.name}/{path}" for path in empty_folders(thing.content)}
            empty |= set() if thing.content else {f"{number}/{thing.name}"}
    # A single output is the answer itself, not a member of a document.
    assert (found, empty) == found_below(workspace, results(workspace, job))


@share(35, few=6)
@given(given_parameters=st.dictionaries(NAMES, parameters(), min_size=1, max_size=5))
def test_values_come_out_as_they_went_in(workspace: Workspace, given_parameters: dict[str, Parameter]) -> None:
    process = process_id()
    answer = deploy(workspace, echo(process, given_parameters))
    assert 201 == answer.status, answer
    inputs = {name: parameter.sent[0] for name, parameter in given_parameters.items() if parameter.sent}
    description = workspace.ask(f"/processes/{process}").json

    shown = results(workspace, execute(workspace, process, inputs))

    for name, parameter in given_parameters.items():
        described = description["inputs"][name]
        assert (parameter.label or name, parameter.doc) == (described["title"], described.get("description", ""))
        assert (0 if parameter.is_optional else 1) == described["minOccurs"]
        if parameter.default:
            assert same(parameter.default[0], described["schema"]["default"])
        if name in inputs and inputs[name] is not None:
            assert accepts(described["schema"], inputs[name])
        value = unqualified(shown.get(output_of(name)))
        assert same(parameter.expected, value), (name, parameter.expected, value)
        if value is not None:
            assert accepts(description["outputs"][output_of(name)]["schema"], value)
    arguments = fetch(workspace, shown["arguments"]["href"]).decode().split("\0")[:-1]
    assert fits_arguments(given_parameters, arguments), arguments
