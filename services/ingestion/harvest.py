"""Reads harvest messages: the catalog change message of the EO DataHub, `{bucket_name, source, target, added_keys, …}`.

What a key asks for is told from its name and, where the name leaves it open, from the content of the object. Nothing is
parsed as YAML: hostile documents are the business of submission.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Literal

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from services.shared.errors import InvalidArgument, Violation
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_INVALID_HARVEST_MESSAGE

LARGEST_MESSAGE = 1024 * 1024
MOST_KEYS = 1000
LONGEST_KEY_BYTES = 1024
"""As long as a key of S3 may be."""

PACKAGE_SUFFIXES = (".cwl", ".yaml", ".yml", ".json")
POLICY_FILE = re.compile(r"(.*\.)?access[-_]policy\.json")
CWL_VERSION = re.compile(rb"""^[ \t{]*["']?cwlVersion["']?[ \t]*:""", re.MULTILINE)

Verb = Literal["deploy", "undeploy", "ignore"]


@dataclass(frozen=True, kw_only=True)
class KeyAction:
    """What a message asks for with one key."""

    key: str
    verb: Verb
    message: str | None = None
    """Why the key is ignored."""


@dataclass(frozen=True, kw_only=True)
class Harvest:
    """A harvest message, as far as it concerns packages."""

    message_id: str
    source: str
    bucket_name: str
    digest: bytes
    """SHA-256 of the message, which no order of members or spacing changes."""
    actions: tuple[KeyAction, ...]


def parse_harvest(content: bytes, workspace: str) -> Harvest:
    """Reads a message that was sent to a workspace. Members it does not know are left alone.

    Raises INVALID_HARVEST_MESSAGE, with each violation.
    """
    if len(content) > LARGEST_MESSAGE:
        raise InvalidArgument(
            ERROR_REASON_INVALID_HARVEST_MESSAGE,
            "The message has {size_bytes} bytes; at most {limit_bytes} are taken.",
            http_status=413,
            size_bytes=len(content),
            limit_bytes=LARGEST_MESSAGE,
        )
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(
            ERROR_REASON_INVALID_HARVEST_MESSAGE,
            "The message is not JSON: see line {line}, column {column}.",
            line=error.lineno,
            column=error.colno,
        ) from error
    try:
        message = _Message.model_validate(document)
    except ValidationError as error:
        raise _invalid(
            Violation("".join(f"/{segment}" for segment in fault["loc"]), fault["msg"])
            for fault in error.errors(include_url=False, include_input=False)
        ) from error
    _check(message, workspace)
    digest = sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS))
    return Harvest(
        message_id=message.id if message.id is not None else f"sha256:{digest.hexdigest()}",
        source=message.source,
        bucket_name=message.bucket_name,
        digest=digest.digest(),
        actions=tuple(_action(key, "deploy") for key in message.changed_keys)
        + tuple(_action(key, "undeploy") for key in dict.fromkeys(message.deleted_keys)),
    )


def media_type_of(key: str, content: bytes) -> str | None:
    """The media type to deploy an object as; None when its content is no package. Its key is one of a package."""
    if key.endswith(".cwl"):
        return "application/cwl"
    if not key.endswith(".json"):
        return "application/cwl+yaml" if CWL_VERSION.search(content) else None
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    match document:
        case {"executionUnit": _}:
            return "application/ogcapppkg+json"
        case {"cwlVersion": _}:
            return "application/cwl+json"
    return None


def _action(key: str, verb: Verb) -> KeyAction:
    name = key.rpartition("/")[2]
    if POLICY_FILE.fullmatch(name):
        return KeyAction(
            key=key, verb="ignore", message="Access policies are not taken in: share the process with ShareProcess."
        )
    if not name.endswith(PACKAGE_SUFFIXES):
        return KeyAction(
            key=key, verb="ignore", message=f"Not a package: the name ends in none of {', '.join(PACKAGE_SUFFIXES)}."
        )
    return KeyAction(key=key, verb=verb)


def _checked_key(key: str) -> str:
    # A slash at the end is the mark of a folder, which some stores keep as an object.
    segments = key.removesuffix("/").split("/")
    if len(key.encode()) > LONGEST_KEY_BYTES:
        raise PydanticCustomError("key", "A key has at most {limit} bytes.", {"limit": LONGEST_KEY_BYTES})
    if not key.isprintable() or "\\" in key or any(segment in ("", ".", "..") for segment in segments):
        raise PydanticCustomError(
            "key",
            "A key is a relative path of printable characters without backslashes, empty segments, `.` and `..`.",
        )
    return key


def _checked_text(text: str) -> str:
    if not text.isprintable():
        raise PydanticCustomError("text", "Only printable characters are taken.")
    return text


def _empty_for_null(value: object) -> object:
    return [] if value is None else value


_Key = Annotated[str, AfterValidator(_checked_key)]
_Keys = Annotated[list[_Key], BeforeValidator(_empty_for_null), Field(max_length=MOST_KEYS)]
_Text = Annotated[str, Field(max_length=1024), AfterValidator(_checked_text)]


class _Message(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    id: Annotated[_Text, Field(min_length=1, max_length=256)] | None = None
    workspace: str | None = None
    bucket_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9](\.?[A-Za-z0-9_-]+)*$", min_length=1, max_length=63)]
    source: _Text
    target: _Text
    added_keys: _Keys = []
    updated_keys: _Keys = []
    deleted_keys: _Keys = []

    @property
    def changed_keys(self) -> list[str]:
        """What was added or updated, once each. Which of the two is only a hint."""
        return list(dict.fromkeys([*self.added_keys, *self.updated_keys]))


def _check(message: _Message, workspace: str) -> None:
    if message.workspace not in (None, workspace):
        raise _invalid([Violation("/workspace", "The message is for another workspace than the one it was sent to.")])
    if len(message.changed_keys) + len(message.deleted_keys) > MOST_KEYS:
        raise _invalid([Violation("", f"A message names at most {MOST_KEYS} keys.")])
    changed = set(message.changed_keys)
    contradictions = [
        Violation(f"/deleted_keys/{index}", "The key is also named as added or updated.")
        for index, key in enumerate(message.deleted_keys)
        if key in changed
    ]
    if contradictions:
        raise _invalid(contradictions)


def _invalid(violations: Iterable[Violation]) -> InvalidArgument:
    found = list(violations)
    return InvalidArgument(
        ERROR_REASON_INVALID_HARVEST_MESSAGE,
        "This is not a catalog change message: {first}, at {pointer}."
        if found[0].pointer
        else "This is not a catalog change message: {first}.",
        violations=found,
        pointer=found[0].pointer,
        first=found[0].message.rstrip("."),
    )
