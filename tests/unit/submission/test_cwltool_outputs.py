"""How outputs are brought to one place: names and content kept, links followed within the job, the rest refused."""

import os
from pathlib import Path
from typing import Any

import pytest

from services.submission.backends.cwltool.outputs import OutputRefusedError, hand_out


@pytest.fixture
def box(tmp_path: Path) -> Path:
    for name in ("inputs", "work/steps/a", "work/steps/b", "work/outputs"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def file(path: Path, **more: Any) -> dict[str, Any]:
    return {"class": "File", "location": path.as_uri(), "basename": path.name, **more}


def directory(path: Path, **more: Any) -> dict[str, Any]:
    return {"class": "Directory", "location": path.as_uri(), "basename": path.name, **more}


def tree(root: Path) -> dict[str, str | None]:
    """The content of all files below a directory; None for an empty directory. Holds no link."""
    assert not [path for path in root.rglob("*") if path.is_symlink()]
    return {
        str(path.relative_to(root)): path.read_text() if path.is_file() else None
        for path in root.rglob("*")
        if path.is_file() or not any(path.iterdir())
    }


def handed_out(box: Path, outputs: dict[str, Any]) -> dict[str, str | None]:
    hand_out(outputs, box / "work/outputs", [str(box / "inputs"), str(box / "work")])
    return tree(box / "work/outputs")


def refusal(box: Path, outputs: dict[str, Any]) -> str:
    with pytest.raises(OutputRefusedError) as refused:
        handed_out(box, outputs)
    return str(refused.value)


def test_links_to_what_another_step_made_come_out_as_content(box: Path) -> None:
    made, catalog = box / "work/steps/a/a.txt", box / "work/steps/b/cat"
    made.write_text("made")
    catalog.mkdir()
    (catalog / "catalog.json").write_text("catalog")
    (catalog / "a.txt").symlink_to(made)

    found = handed_out(box, {"g": file(made), "o": directory(catalog)})

    assert {"a.txt": "made", "cat/a.txt": "made", "cat/catalog.json": "catalog"} == found


@pytest.mark.parametrize("target", ["bar", "../foo/bar", "{box}/work/steps/a/foo/bar"])
def test_links_inside_of_a_directory_come_out_as_content(box: Path, target: str) -> None:
    foo = box / "work/steps/a/foo"
    foo.mkdir()
    (foo / "bar").write_text("42")
    (foo / "baz").symlink_to(target.replace("{box}", str(box)))

    assert {"foo/bar": "42", "foo/baz": "42"} == handed_out(box, {"d": directory(foo)})


def test_a_link_to_an_input_a_chain_of_links_and_a_hard_link_come_out_as_content(box: Path) -> None:
    (box / "inputs/in.txt").write_text("in")
    out = box / "work/steps/a/out"
    (out / "sub").mkdir(parents=True)
    (out / "one").symlink_to(box / "inputs/in.txt")
    (out / "sub/two").symlink_to("../one")
    (out / "three").symlink_to("sub")
    os.link(box / "inputs/in.txt", out / "four")

    found = handed_out(box, {"d": directory(out), "same": directory(out)})

    content = dict.fromkeys(("one", "sub/two", "three/two", "four"), "in")
    assert {f"{root}/{name}": text for root in ("out", "~2/out") for name, text in content.items()} == found


def test_outputs_that_are_links_to_each_other_all_come_out(box: Path) -> None:
    step = box / "work/steps/a"
    (step / "data.tif").write_text("data")
    (step / "latest.tif").symlink_to("data.tif")
    (step / "d").mkdir()
    (step / "d/x.tif").symlink_to("../data.tif")
    (step / "e").symlink_to("d")

    found = handed_out(
        box,
        {
            "all": [file(step / "latest.tif"), file(step / "data.tif")],
            "d": directory(step / "d"),
            "e": directory(step / "e"),
            "inner": file(step / "e/x.tif"),
        },
    )

    names = ("latest.tif", "data.tif", "d/x.tif", "e/x.tif", "x.tif")
    assert dict.fromkeys(names, "data") == found


def test_equal_names_of_different_outputs_are_kept_apart(box: Path) -> None:
    outputs: dict[str, Any] = {"files": [], "folders": []}
    for step in ("a", "b"):
        (box / "work/steps" / step / "out").mkdir()
        (box / "work/steps" / step / "out/x").write_text(step)
        (box / "work/steps" / step / "x.tif").write_text(step)
        outputs["files"].append(file(box / "work/steps" / step / "x.tif"))
        outputs["folders"].append(directory(box / "work/steps" / step / "out"))

    assert {"x.tif": "a", "~2/x.tif": "b", "out/x": "a", "~3/out/x": "b"} == handed_out(box, outputs)
    assert ["x.tif", "x.tif"] == [entry["basename"] for entry in outputs["files"]]


def test_secondary_files_lie_beside_their_file(box: Path) -> None:
    outputs = []
    for step in ("a", "b"):
        for name in ("x.tif", "x.tif.idx"):
            (box / "work/steps" / step / name).write_text(step)
        (box / "work/steps" / step / "x.d/e").mkdir(parents=True)
        beside = [file(box / "work/steps" / step / "x.tif.idx"), directory(box / "work/steps" / step / "x.d")]
        outputs.append(file(box / "work/steps" / step / "x.tif", secondaryFiles=beside))

    found = handed_out(box, {"out": outputs})

    assert {"x.tif": "a", "x.tif.idx": "a", "x.d/e": None} == {k: v for k, v in found.items() if k[0] != "~"}
    assert {"~2/x.tif": "b", "~2/x.tif.idx": "b", "~2/x.d/e": None} == {k: v for k, v in found.items() if k[0] == "~"}


def test_what_is_described_and_nowhere_yet_is_made(box: Path) -> None:
    (box / "work/steps/a/x").write_text("x")
    listing = [
        file(box / "work/steps/a/x"),
        {"class": "Directory", "location": "_:1", "basename": "empty", "listing": []},
        {"class": "File", "location": "_:2", "basename": "a b#c", "contents": "grüße\r\n"},
    ]
    described = {"class": "Directory", "location": "_:3", "basename": "all", "listing": listing}

    assert {"all/x": "x", "all/empty": None, "all/a b#c": "grüße\n"} == handed_out(box, {"d": described})
    assert "grüße\r\n".encode() == (box / "work/outputs/all/a b#c").read_bytes()
    assert "listing" not in described


def test_two_entries_of_one_name_are_both_named_in_the_refusal(box: Path) -> None:
    for step in ("a", "b"):
        (box / "work/steps" / step / "x.tif").write_text(step)
    listing = [file(box / "work/steps" / step / "x.tif") for step in ("a", "b")]

    message = refusal(box, {"d": {"class": "Directory", "location": "_:1", "basename": "all", "listing": listing}})

    assert "Output d has two entries that are called x.tif: steps/a/x.tif and steps/b/x.tif." == message


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("/etc/passwd", "which is a link that leaves the files of the job"),
        ("../../../../../secret", "which is a link that leaves the files of the job"),
        ("../../../..", "which is a link that leaves the files of the job"),
        ("nowhere", "which is a link to nowhere, and there is nothing"),
        ("bad", "and there is nothing"),
        (".", "which is a link to a directory around itself"),
        ("..", "which is a link to a directory around itself"),
        ("../other", "foo/bad/back, which is a link to a directory around itself"),
    ],
)
def test_a_link_that_stands_for_no_content_of_the_job_is_refused(box: Path, target: str, said: str) -> None:
    foo, other = box / "work/steps/a/foo", box / "work/steps/a/other"
    foo.mkdir()
    other.mkdir()
    (other / "back").symlink_to("../foo")
    (foo / "bad").symlink_to(target)
    (box.parent / "secret").write_text("canary")

    message = refusal(box, {"d": directory(foo)})

    assert message.startswith("Output d holds foo/bad")
    assert said in message
    assert "canary" not in "".join(text or "" for text in tree(box / "work/outputs").values())


def test_a_link_that_is_an_output_itself_is_judged_like_one_inside(box: Path) -> None:
    (box / "work/steps/a/out").symlink_to("/etc")

    message = refusal(box, {"d": directory(box / "work/steps/a/out")})

    assert "Output d holds steps/a/out, which is a link that leaves the files of the job." == message


def test_links_that_multiply_are_refused(box: Path) -> None:
    step = box / "work/steps/a"
    (step / "d0").mkdir()
    for level in range(1, 21):
        (step / f"d{level}").mkdir()
        for name in "abcd":
            (step / f"d{level}" / name).symlink_to(f"../d{level - 1}")

    assert "stand for more than 20000 files" in refusal(box, {"d": directory(step / "d20")})


def test_a_pipe_is_refused_and_not_opened(box: Path) -> None:
    foo = box / "work/steps/a/foo"
    foo.mkdir()
    os.mkfifo(foo / "pipe")

    assert "Output d holds foo/pipe, which is neither a file nor a directory." == refusal(box, {"d": directory(foo)})


@pytest.mark.parametrize("name", ["caf\udce9.tif", "caf\udce9"])
def test_a_name_that_is_no_utf8_is_refused_and_told(box: Path, name: str) -> None:
    foo = box / "work/steps/a/foo"
    (foo / name).mkdir(parents=True)

    message = refusal(box, {"d": directory(foo)})

    told = name.replace("\udce9", "\\xe9")
    assert f"Output d holds foo/{told}, whose name is no UTF-8." == message


@pytest.mark.parametrize("name", ["../escaped", "..", "a/b", "x" * 256, 7])
def test_a_basename_that_is_none_of_a_file_is_refused(box: Path, name: Any) -> None:
    (box / "work/steps/a/x").write_text("x")

    message = refusal(box, {"d": file(box / "work/steps/a/x", basename=name)})

    assert message.startswith("Output d has a file or directory whose name ")
    assert [] == list((box / "work").glob("esc*"))


@pytest.mark.parametrize("location", ["https://example.com/x", "file:///etc/passwd", "/etc/passwd", "s3://b/x"])
def test_a_location_outside_of_the_job_is_refused(box: Path, location: str) -> None:
    message = refusal(box, {"d": {"class": "File", "location": location, "basename": "x"}})

    assert message.startswith("Output d holds ")


def test_a_content_that_is_no_text_is_refused(box: Path) -> None:
    described = {"class": "File", "location": "_:1", "basename": "x", "contents": "half \ud800"}

    assert "Output d has x, whose content is no UTF-8." == refusal(box, {"d": described})
