"""What a package may not contain: everything that reaches out of the document, or around the limits of a job.

CWL libraries resolve `$include`, `run:` and locations wherever they stand, so the search looks at every value of the
document and asks only afterwards what it is for. Fields have other spellings (`cwl:run`, full URIs, namespaces of one's
own); those are refused, not resolved.
"""

import re
from collections.abc import Iterator
from typing import Any

from services.submission.cwl.names import is_extension
from services.submission.packages.document import Document, join, offence
from services.submission.packages.refusal import MAX_OFFENCES, Offence, Refusal
from services.submission.packages.structure import all_processes, entries, requirements

VERSIONS = ("v1.0", "v1.1", "v1.2")
RESERVED_INPUTS = frozenset(
    {
        "STAGE_AWS_ACCESS_KEY_ID",
        "STAGE_AWS_SECRET_ACCESS_KEY",
        "STAGE_AWS_SESSION_TOKEN",
        "CALLING_WORKSPACE_ACCESS_TOKEN",
    }
)

_CWL = "https://w3id.org/cwl/"
_EXTENSIONS = ("cwltool:", "http://commonwl.org/cwltool", "https://commonwl.org/cwltool")
_QUALIFIED = ("cwl:", _CWL)
_DOCKER = {
    "dockerFile": "Images are not built here. Push the image to a registry and name it in dockerPull.",
    "dockerImport": "Images are not imported here. Push the image to a registry and name it in dockerPull.",
    "dockerLoad": "Images are not loaded here. Push the image to a registry and name it in dockerPull.",
    "dockerOutputDirectory": "The output directory is chosen here. Remove this field and use $(runtime.outdir).",
}
# The reference grammar of the OCI distribution specification: [host[:port]/]path[:tag][@digest].
_IMAGE = re.compile(
    r"(?:(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*(?::[0-9]{1,5})?)/)?"
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@sha256:[0-9a-f]{64})?"
)
_RESOURCES = re.compile(r"(?:cores|ram|tmpdir|outdir)(?:Min|Max)")


def check_version(document: Document) -> str:
    """Gives the CWL version of a document, or refuses one that is not known."""
    version = document.value.get("cwlVersion")
    if version is None:
        raise Refusal(
            "ERROR_REASON_UNSUPPORTED_CWL_VERSION",
            "The package has no cwlVersion. Add cwlVersion: v1.2 at the top.",
            [Offence("", "cwlVersion is missing.")],
        )
    if version not in VERSIONS:
        raise Refusal(
            "ERROR_REASON_UNSUPPORTED_CWL_VERSION",
            "CWL version {version} is not supported. Use one of {supported}.",
            [offence(document, "/cwlVersion", "This version is not supported.")],
            None,
            {"version": str(version)[:100], "supported": ", ".join(VERSIONS)},
        )
    return str(version)


def check_policy(document: Document) -> None:
    """Refuses a document with anything that is forbidden, naming every place of it."""
    found = []
    for pointer, message in _offences(_without(document.value, "", ignored_hints(document))):
        found.append(offence(document, pointer, message))
        if len(found) >= MAX_OFFENCES:
            break
    if found:
        raise Refusal(
            "ERROR_REASON_PACKAGE_REFUSED",
            "The package is refused at {pointer}: {problem}",
            found,
            None,
            {"pointer": found[0].pointer or "/", "problem": found[0].message},
        )


def ignored_hints(document: Document) -> dict[str, str]:
    """Returns the hints that mean something to cwltool alone, which nothing follows here, by their pointers."""
    namespaces = document.value.get("$namespaces")
    return dict(_extensions(document.value, "", namespaces))


def _extensions(value: Any, pointer: str, namespaces: Any) -> Iterator[tuple[str, str]]:
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        place = join(pointer, key)
        yield from _extensions(item, place, namespaces)
        if key == "hints":
            for entry, name, _ in entries(item, place, "class"):
                if is_extension(name, namespaces):
                    yield entry, str(name)


def _without(value: Any, pointer: str, ignored: dict[str, str]) -> Any:
    """The same value without what stands at some pointers; lists keep their indexes."""
    if isinstance(value, list):
        places = [join(pointer, index) for index in range(len(value))]
        return [
            None if place in ignored else _without(item, place, ignored)
            for place, item in zip(places, value, strict=True)
        ]
    if isinstance(value, dict):
        places = [join(pointer, key) for key in value]
        return {
            key: _without(item, place, ignored)
            for place, (key, item) in zip(places, value.items(), strict=True)
            if place not in ignored
        }
    return value


def _offences(value: Any) -> Iterator[tuple[str, str]]:
    yield from _everywhere(value, "")
    yield from _top(value)
    for pointer, process in all_processes(value):
        yield from _process(process, pointer)


def _everywhere(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _everywhere(item, join(pointer, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            if not (key == "$import" and _is_own_type(value, pointer)):
                yield from _key(key, join(pointer, key))
            yield from _everywhere(item, join(pointer, key))
        yield from _mapping(value, pointer)


def _is_own_type(value: dict[str, Any], pointer: str) -> bool:
    """Whether a type definition names one of this document: what packing writes for a type that is used twice."""
    imported = value["$import"]
    return len(value) == 1 and isinstance(imported, str) and imported.startswith("#") and "/types/" in pointer


def _key(key: str, pointer: str) -> Iterator[tuple[str, str]]:
    if key in ("$include", "$import", "$mixin"):
        yield (
            pointer,
            f"{key} is not followed: a package is one document. Write the content here; "
            "type definitions go into SchemaDefRequirement.",
        )
    elif key in _DOCKER:
        yield pointer, _DOCKER[key]
    elif key == "MPIRequirement" or key.startswith(_EXTENSIONS):
        yield pointer, f"The extension {key[:100]} is not supported. Use standard CWL only."
    elif key.startswith(_QUALIFIED):
        yield pointer, "Write CWL fields by their plain names, without a prefix or a URI."


def _mapping(value: dict[str, Any], pointer: str) -> Iterator[tuple[str, str]]:
    kind = value.get("class")
    if isinstance(kind, str):
        if kind == "MPIRequirement" or kind.startswith(_EXTENSIONS):
            yield join(pointer, "class"), f"The extension {kind[:100]} is not supported. Use standard CWL only."
        elif kind.startswith(_QUALIFIED):
            yield join(pointer, "class"), "Write CWL classes by their plain names, without a prefix or a URI."
        elif kind in ("File", "Directory"):
            for field in ("location", "path"):
                if isinstance(value.get(field), str) and not _is_expression(value[field]):
                    yield (
                        join(pointer, field),
                        f"A {kind} in a package may not name a place outside of it. "
                        "Give a literal with contents or listing, or make it an input.",
                    )
    run = value.get("run")
    if isinstance(run, str) and not run.startswith("#") and ("in" in value or "out" in value):
        yield join(pointer, "run"), "run may only name a process of this document, as #name. Put the tool into $graph."
    for field in ("dockerPull", "dockerImageId"):
        image = value.get(field)
        if image is not None and not (isinstance(image, str) and len(image) <= 500 and _IMAGE.fullmatch(image)):
            yield (
                join(pointer, field),
                "This is not an image reference. Write it like registry.example.org/team/tool:1.2.3.",
            )


def _top(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    namespaces = document.get("$namespaces")
    for prefix, uri in namespaces.items() if isinstance(namespaces, dict) else ():
        is_special = not isinstance(uri, str) or uri.startswith((*_EXTENSIONS, _CWL))
        if is_special and (not isinstance(uri, str) or _uses(document, f"{prefix}:")):
            place = join("", "$namespaces", prefix)
            yield place, "This namespace is not supported outside of hints. Remove it and what uses it."
    for base in ("$base", "@context"):
        if base in document:
            yield join("", base), f"{base} is not supported. Remove it and write ids as #name."
    schemas = document.get("$schemas", [])
    for index, schema in enumerate(schemas if isinstance(schemas, list) else [schemas]):
        if not isinstance(schema, str) or not schema.startswith(("https://", "http://")):
            yield (
                join("", "$schemas", index),
                "$schemas may only name web addresses (they are never fetched). Remove the file.",
            )


def _uses(value: Any, prefix: str) -> bool:
    """Whether a key, or a text without spaces, begins with a prefix: such a text may be read as an address."""
    if isinstance(value, dict):
        return any(
            key != "$namespaces" and (key.startswith(prefix) or _uses(item, prefix)) for key, item in value.items()
        )
    if isinstance(value, list):
        return any(_uses(item, prefix) for item in value)
    return isinstance(value, str) and value.startswith(prefix) and not re.search(r"\s", value)


def _process(process: dict[str, Any], pointer: str) -> Iterator[tuple[str, str]]:
    for entry, name, _ in entries(process.get("inputs"), join(pointer, "inputs")):
        if name in RESERVED_INPUTS:
            yield entry, f"The input name {name} is reserved. Choose another one."
    for entry, _, step in entries(process.get("steps"), join(pointer, "steps")):
        if isinstance(step, dict):
            yield from _requirements(step, entry)
    for entry, _, output in entries(process.get("outputs"), join(pointer, "outputs")):
        binding = output.get("outputBinding") if isinstance(output, dict) else None
        globs = binding.get("glob", []) if isinstance(binding, dict) else []
        for glob in globs if isinstance(globs, list) else [globs]:
            if isinstance(glob, str) and _leaves_directory(glob):
                yield (
                    join(entry, "outputBinding", "glob"),
                    "glob may not leave the output directory. Use a relative path without ../.",
                )
    yield from _requirements(process, pointer)


def _requirements(process: dict[str, Any], pointer: str) -> Iterator[tuple[str, str]]:
    for entry, name, content in requirements(process, pointer):
        match name:
            case "ToolTimeLimit" if content.get("timelimit") == 0:
                yield (
                    join(entry, "timelimit"),
                    "A time limit of 0 would mean none. Give a number of seconds, or remove the requirement.",
                )
            case "ResourceRequirement":
                for field, amount in content.items():
                    if _RESOURCES.fullmatch(field) and isinstance(amount, (int, float)) and amount < 0:
                        yield join(entry, field), "A resource may not be negative."
            case "InitialWorkDirRequirement":
                for place, _, item in entries(content.get("listing"), join(entry, "listing"), "entryname"):
                    names = item.get("entryname") if isinstance(item, dict) else None
                    if isinstance(names, str) and _leaves_directory(names):
                        yield (
                            join(place, "entryname"),
                            "entryname may not leave the working directory. Use a relative path without ../.",
                        )


def _leaves_directory(path: str) -> bool:
    return not _is_expression(path) and (path.startswith("/") or ".." in path.split("/"))


def _is_expression(text: str) -> bool:
    return "$(" in text or "${" in text
