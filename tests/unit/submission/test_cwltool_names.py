"""Names of files on their way through a run: between steps, and out of it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import pytest_asyncio

from services.submission.backends import FailureReason, RunState
from services.submission.backends.cwltool import Cwltool
from tests.backend_runs import keep_inputs, package, python_tool, run

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMES = [
    *(
        "a b",
        "year=2024.parquet",
        "a#1",
        "100%",
        "a~",
        "(1)",
        "[1]",
        "{x}",
        "a&b",
        "a;b",
        "it's",
        "!",
        "$HOME",
        "what?",
    ),
    *("*", "a|b", "<in>", "back\\slash", 'quo"te', "`id`", "tab\there", "T10:00:00Z.tif", "東京.tif", "é", "e\u0301"),
    *(".hidden", "-rf", "~", "%2E", "x" * 255, "東" * 85),
]
"""All of them names that a file system keeps."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cwltool]:
    async with Cwltool.open(tmp_path_factory.mktemp("runs"), keep_inputs) as opened:
        yield opened


async def test_every_name_passes_between_steps_and_comes_out(backend: Cwltool) -> None:
    chain = package(
        """\
        cwlVersion: v1.2
        class: Workflow
        requirements: {ScatterFeatureRequirement: {}, InlineJavascriptRequirement: {}}
        inputs: {names: {type: 'string[]'}}
        outputs: {all: {type: 'File[]', outputSource: copy/out}, kept: {type: Directory, outputSource: make/out}}
        steps:
          make:
            in: {names: names}
            out: [out, files]
            run:
              class: CommandLineTool
              inputs: {names: 'string[]'}
              baseCommand: [python3, -c]
              arguments:
                - |
                  import json, os, sys
                  os.mkdir('out')
                  for name in json.loads(sys.argv[1]):
                      open('out/' + name, 'w').write(name)
                - $(JSON.stringify(inputs.names))
              outputs:
                out: {type: Directory, outputBinding: {glob: out}}
                files:
                  type: 'File[]'
                  outputBinding: {glob: out, loadListing: shallow_listing, outputEval: '$(self[0].listing)'}
          copy:
            scatter: file
            in: {file: make/files}
            out: [out]
            run:
              class: CommandLineTool
              inputs: {file: File}
              baseCommand: [python3, -c]
              arguments:
                - |
                  import os, sys
                  open(os.path.basename(sys.argv[1]), 'w').write(open(sys.argv[1]).read() + '!')
                - $(inputs.file.path)
              outputs:
                out:
                  type: File
                  outputBinding: {glob: ., loadListing: shallow_listing, outputEval: '$(self[0].listing[0])'}
        """
    )

    ended = await run(backend, chain, {"names": NAMES})

    assert ended.state is RunState.successful, ended.failure
    copies = sorted(ended.outputs["all"], key=in_order)
    assert NAMES == [entry["basename"] for entry in copies]
    assert [f"{name}!" for name in NAMES] == [place(entry).read_text() for entry in copies]
    assert sorted(NAMES) == sorted(path.name for path in place(ended.outputs["kept"]).iterdir())


async def test_directories_of_one_name_from_a_scatter_all_come_out(backend: Cwltool) -> None:
    scatter = package(
        """\
        cwlVersion: v1.2
        class: Workflow
        requirements: {ScatterFeatureRequirement: {}}
        inputs: {n: {type: 'int[]', default: [1, 2, 3]}}
        outputs: {folders: {type: 'Directory[]', outputSource: a/d}, files: {type: 'File[]', outputSource: a/f}}
        steps:
          a:
            scatter: n
            in: {n: n}
            out: [d, f]
            run:
              class: CommandLineTool
              inputs: {n: {type: int, inputBinding: {}}}
              baseCommand: [sh, -c, 'mkdir out; echo $0 > out/x; echo $0 > x.tif']
              outputs: {d: {type: Directory, outputBinding: {glob: out}}, f: {type: File, outputBinding: {glob: x.tif}}}
        """
    )

    ended = await run(backend, scatter)

    assert ended.state is RunState.successful, ended.failure
    assert ["1\n", "2\n", "3\n"] == [(place(folder) / "x").read_text() for folder in ended.outputs["folders"]]
    assert ["1\n", "2\n", "3\n"] == [place(file).read_text() for file in ended.outputs["files"]]


async def test_a_file_of_a_step_that_is_staged_into_an_output_comes_out(backend: Cwltool) -> None:
    stac = package(
        """\
        cwlVersion: v1.2
        class: Workflow
        inputs: []
        outputs: {o: {type: Directory, outputSource: b/o}, g: {type: File, outputSource: a/g}}
        steps:
          a:
            in: []
            out: [g]
            run:
              class: CommandLineTool
              inputs: []
              baseCommand: [sh, -c, 'echo made > a.txt']
              outputs: {g: {type: File, outputBinding: {glob: a.txt}}}
          b:
            in: {g: a/g}
            out: [o]
            run:
              class: CommandLineTool
              requirements:
                InitialWorkDirRequirement: {listing: [{entryname: cat/a.txt, entry: $(inputs.g)}]}
              inputs: {g: File}
              baseCommand: [sh, -c, 'echo catalog > cat/catalog.json; ln -s $PWD/cat/catalog.json cat/same.json']
              outputs: {o: {type: Directory, outputBinding: {glob: cat}}}
        """
    )

    ended = await run(backend, stac)

    assert ended.state is RunState.successful, ended.failure
    inside = {path.name: path.read_text() for path in place(ended.outputs["o"]).iterdir()}
    assert {"a.txt": "made\n", "catalog.json": "catalog\n", "same.json": "catalog\n"} == inside
    assert "made\n" == ended.text("g")


@pytest.mark.parametrize(
    ("code", "outputs", "said"),
    [
        (
            "import os; os.mkdir('d'); open(b'd/caf' + bytes([0xe9]), 'w')",
            "{o: {type: Directory, outputBinding: {glob: d}}}",
            "Output o holds d/caf\\xe9, whose name is no UTF-8.",
        ),
        ("open(b'caf' + bytes([0xe9]), 'w')", "{o: {type: File, outputBinding: {glob: 'c*'}}}", "caf\\xe9 has a name"),
        (
            "import os; os.makedirs('d/e'); os.chmod('d/e', 0)",
            "{o: {type: Directory, outputBinding: {glob: d}}}",
            "Output o holds d/e, which cannot be read.",
        ),
        (
            "import os; os.mkdir('d'); open('d/x', 'w'); os.chmod('d/x', 0)",
            "{o: {type: Directory, outputBinding: {glob: d}}}",
            "Output o holds d/x, which cannot be read.",
        ),
        (
            "import os; os.mkdir('d'); os.symlink('nowhere', 'd/x')",
            "{o: {type: Directory, outputBinding: {glob: d}}}",
            "Output o holds d/x, which is a link to nowhere, and there is nothing.",
        ),
        ("import os; os.symlink('no', 'x')", "{o: {type: File, outputBinding: {glob: x}}}", "x is a link to nothing"),
    ],
)
async def test_what_cannot_be_handed_out_is_told_with_output_and_file(
    backend: Cwltool, code: str, outputs: str, said: str
) -> None:
    ended = await run(backend, python_tool(code, outputs=outputs))

    assert ended.state is RunState.failed
    assert FailureReason.OUTPUT_REFUSED is ended.failure.reason
    assert said in ended.failure.message


def place(entry: dict[str, Any]) -> Path:
    return Path(unquote(urlsplit(entry["location"]).path))


def in_order(entry: dict[str, Any]) -> int:
    return NAMES.index(entry["basename"])
