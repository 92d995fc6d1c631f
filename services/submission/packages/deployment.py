"""What a deploy request carries: a CWL document, or an OGC application package around one or around its address."""

from dataclasses import dataclass
from typing import Any

import orjson

from services.shared.errors import InvalidArgument, Violation
from services.submission.packages.limits import check_size
from services.submission.packages.reader import to_error
from services.submission.packages.refusal import Refusal
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_INVALID_PACKAGE, ERROR_REASON_UNSUPPORTED_MEDIA_TYPE

CWL_YAML, CWL_JSON, CWL = "application/cwl+yaml", "application/cwl+json", "application/cwl"
OGC_PACKAGE = "application/ogcapppkg+json"
PACKAGE_ACCEPT = ", ".join(
    (
        CWL_YAML,
        CWL_JSON,
        CWL,
        "application/x-yaml",
        "application/yaml",
        "text/yaml",
        "text/x-yaml",
        "application/json",
        "text/plain",
        "application/octet-stream",
    )
)
"""Media types under which packages are served. Git hosts say text/plain, object stores application/octet-stream."""

_CWL_TYPES = {
    CWL_YAML: CWL_YAML,
    CWL_JSON: CWL_JSON,
    CWL: CWL,
    "application/x-yaml": CWL_YAML,
    "application/yaml": CWL_YAML,
    "text/yaml": CWL_YAML,
    "text/x-yaml": CWL_YAML,
}
_DOCKER_PROFILE = "http://www.opengis.net/profiles/eoc/dockerizedApplication"


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A deploy request. Either the document is here, or `href` says where it is."""

    document: bytes | None
    href: str | None
    media_type: str
    process_description: dict[str, Any] | None
    """`processDescription.process`: id, title, description, version and keywords that override those of the CWL."""


def parse_deploy_body(body: bytes, content_type: str) -> Deployment:
    """Reads the body of a deploy or replace request.

    Raises InvalidArgument: UNSUPPORTED_MEDIA_TYPE (415), PACKAGE_TOO_LARGE (413), INVALID_PACKAGE.
    """
    media_type = _media_type(content_type)
    if media_type not in (*_CWL_TYPES, OGC_PACKAGE, "application/json"):
        raise InvalidArgument(
            ERROR_REASON_UNSUPPORTED_MEDIA_TYPE,
            "Packages are not taken as {media_type}. Use one of {supported}.",
            http_status=415,
            media_type=media_type[:100] or "a body without Content-Type",
            supported=", ".join((CWL_YAML, CWL_JSON, CWL, OGC_PACKAGE)),
        )
    try:
        check_size(body)
    except Refusal as refusal:
        raise to_error(refusal.to_dict()) from None
    if media_type in _CWL_TYPES:
        return Deployment(document=body, href=None, media_type=_CWL_TYPES[media_type], process_description=None)
    return _application_package(body)


def _application_package(body: bytes) -> Deployment:
    try:
        package = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _invalid(
            "",
            "The body is not valid JSON: {problem} (line {line}, column {column}).",
            problem=error.msg,
            line=error.lineno,
            column=error.colno,
        ) from None
    if not isinstance(package, dict):
        raise _invalid("", "The body is not an application package: a JSON object with executionUnit is expected.")
    if "cwlVersion" in package and "executionUnit" not in package:
        # Some clients send CWL as plain application/json.
        return Deployment(document=body, href=None, media_type=CWL_JSON, process_description=None)
    if "executionUnit" not in package:
        raise _invalid(
            "/executionUnit",
            "The application package has no executionUnit. Give one with href, or with value and mediaType.",
        )
    description = _process_description(package.get("processDescription"))
    unit, pointer = package["executionUnit"], "/executionUnit"
    if isinstance(unit, list):
        if len(unit) != 1:
            raise _invalid(pointer, "Exactly one executionUnit is taken; put all of the CWL into one document.")
        unit, pointer = unit[0], "/executionUnit/0"
    return _unit(unit, pointer, description)


def _unit(unit: Any, pointer: str, description: dict[str, Any] | None) -> Deployment:
    if isinstance(unit, dict):
        declared = unit.get("mediaType") or unit.get("type")
        media_type = _CWL_TYPES.get(_media_type(declared)) if isinstance(declared, str) else CWL
        if declared == "docker" or "image" in unit or unit.get("deployment") == _DOCKER_PROFILE:
            raise _invalid(
                pointer,
                "Docker execution units are not run here. Wrap the image in a CWL CommandLineTool and send that.",
            )
        if isinstance(unit.get("href"), str):
            # The type of a link is a hint; the answer says what it is.
            return Deployment(
                document=None, href=unit["href"], media_type=media_type or CWL, process_description=description
            )
        for member in ("value", "unit"):
            if isinstance(unit.get(member), dict):
                return _inline(orjson.dumps(unit[member]), CWL_JSON, description)
            if isinstance(unit.get(member), str):
                return _inline(unit[member].encode("utf-8", "replace"), media_type or CWL_YAML, description)
        if "cwlVersion" in unit:
            return _inline(orjson.dumps(unit), CWL_JSON, description)
    raise _invalid(
        pointer,
        "The executionUnit names no package. Give href (the address of a CWL document), or value and mediaType.",
    )


def _inline(document: bytes, media_type: str, description: dict[str, Any] | None) -> Deployment:
    return Deployment(document=document, href=None, media_type=media_type, process_description=description)


def _process_description(given: Any) -> dict[str, Any] | None:
    if given is None:
        return None
    process = given.get("process", given) if isinstance(given, dict) else None
    if not isinstance(process, dict):
        raise _invalid("/processDescription", "processDescription must be an object with process.")
    for member, kind, name in (
        ("id", str, "a string"),
        ("title", str, "a string"),
        ("description", str, "a string"),
        ("version", str, "a string"),
        ("keywords", list, "a list"),
        ("metadata", list, "a list"),
    ):
        if member in process and not isinstance(process[member], kind):
            raise _invalid(f"/processDescription/process/{member}", "This must be {kind}.", kind=name)
    if not all(isinstance(keyword, str) for keyword in process.get("keywords", [])):
        raise _invalid("/processDescription/process/keywords", "This must be a list of strings.")
    if not all(isinstance(entry, dict) for entry in process.get("metadata", [])):
        raise _invalid("/processDescription/process/metadata", "This must be a list of objects.")
    return process


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _invalid(pointer: str, message: str, **metadata: object) -> InvalidArgument:
    error = InvalidArgument(ERROR_REASON_INVALID_PACKAGE, message, **metadata)  # type: ignore[arg-type]
    error.violations = (Violation(pointer, error.message),)
    return error
