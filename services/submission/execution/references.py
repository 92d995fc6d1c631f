"""Inputs by reference (OGC API - Processes 1.0, requirement process-execute-input-validation).

A link for an input that is no file is fetched when the job is accepted, and judged like any value. A link for a file is
fetched when the job is launched; that it may be fetched at all is looked at when the job is accepted.
"""

import asyncio
import base64
from collections.abc import Iterator
from itertools import islice
from typing import Any

import orjson

from services.shared.errors import InvalidArgument, Violation
from services.submission.execution.revisions import MOST_AT_ONCE, Inputs, judged
from services.submission.packages.document import join
from services.submission.staging.fetcher import Fetched, Fetcher
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_INVALID_INPUTS, ERROR_REASON_URL_REFUSED

MOST_LINKS = 32
"""How many values one request may have fetched."""
LARGEST_VALUES = 4 << 20
"""How many bytes they may have together: as many as a request itself."""
MOST_HOSTS = 64
"""How many hosts of files are looked at; the others are when the job is launched."""

Place = tuple[str] | tuple[str, int]
"""An input, or an item of one."""

_LINK = frozenset({"href", "rel", "type", "hreflang", "title", "length", "method"})


async def fetch_inputs(
    inputs: Inputs, given: dict[str, Any], fetcher: Fetcher, *, size_bytes: int = LARGEST_VALUES
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Judges inputs; returns those that have links with what is there in their places, and the job order of all.

    `size_bytes` is how large the request is. Raises INVALID_INPUTS, URL_REFUSED, FETCH_FAILED.
    """
    valued = {name: value for name, value in given.items() if not inputs.takes_links(name)}
    links = dict(islice(_links(valued), MOST_LINKS + 1))
    if len(links) > MOST_LINKS:
        raise InvalidArgument(
            ERROR_REASON_INVALID_INPUTS,
            "The request has more values by reference than {most}; send the others by value.",
            violations=[Violation(join("/inputs", *list(links)[MOST_LINKS]), "This is one reference too many.")],
            most=MOST_LINKS,
        )
    values, fetched_bytes = await _fetch_all(links, fetcher)
    fetched = {place[0]: _resolved(valued[place[0]], (place[0],), values) for place in links}
    try:
        order = await judged(inputs, {**given, **fetched}, size_bytes + fetched_bytes)
    except InvalidArgument as refusal:
        refusal.violations = tuple(_placed(violation, links) for violation in refusal.violations)
        raise
    if size_bytes > MOST_AT_ONCE:
        places = await asyncio.to_thread(_hosts, order)
    else:
        places = _hosts(order)
    await _check_files(places, fetcher)
    return fetched, order


def _links(given: dict[str, Any]) -> Iterator[tuple[Place, dict[str, Any]]]:
    """The links among inputs, by their place: an input, or an item of one."""
    for name, value in given.items():
        if _is_link(value):
            yield (name,), value
        elif isinstance(value, list):
            yield from (((name, index), item) for index, item in enumerate(value) if _is_link(item))


def _is_link(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("href"), str) and set(value) <= _LINK


async def _fetch_all(links: dict[Place, dict[str, Any]], fetcher: Fetcher) -> tuple[dict[Any, Any], int]:
    slots = asyncio.Semaphore(4)

    async def fetch(place: Place, link: dict[str, Any]) -> Fetched:
        async with slots:
            try:
                return await fetcher.fetch(link["href"], max_bytes=LARGEST_VALUES, accept="*/*")
            except InvalidArgument as refusal:
                refusal.violations = (Violation(join("/inputs", *place, "href"), refusal.message),)
                raise

    answers = await asyncio.gather(*(fetch(*link) for link in links.items()), return_exceptions=True)
    left, values = LARGEST_VALUES, {}
    for (place, link), answer in zip(links.items(), answers, strict=True):
        if isinstance(answer, BaseException):
            raise answer
        left -= len(answer.body)
        if left < 0:
            message = f"With this, the values by reference have more than {LARGEST_VALUES} bytes."
            raise _unfit(place, message)
        values[place] = _value(place, link, answer)
    return values, LARGEST_VALUES - left


def _value(place: Place, link: dict[str, Any], answer: Fetched) -> dict[str, Any]:
    """What was fetched as a value that says what it is, as if it stood in the request."""
    media_type = str(link.get("type") or answer.media_type or "")
    plain = media_type.partition(";")[0].strip().lower()
    if plain == "application/json" or plain.endswith("+json"):
        try:
            return {"value": orjson.loads(answer.body)}
        except orjson.JSONDecodeError as error:
            raise _unfit(place, f"What is there is not valid JSON: {error.msg}.") from None
    if plain.startswith("text/") or not plain:
        try:
            text = answer.body.decode()
        except UnicodeDecodeError:
            raise _unfit(place, "What is there is not text in UTF-8.") from None
        return {"value": text} if plain in ("", "text/plain") else {"value": text, "mediaType": media_type}
    return {"value": base64.b64encode(answer.body).decode(), "mediaType": media_type, "encoding": "base64"}


def _resolved(value: Any, place: Any, values: dict[Any, Any]) -> Any:
    if place in values:
        return values[place]
    if isinstance(value, list):
        return [_resolved(item, (*place, index), values) for index, item in enumerate(value)]
    return value


def _placed(violation: Violation, links: dict[Place, dict[str, Any]]) -> Violation:
    """A violation inside of what was fetched is one of the link."""
    for place in links:
        pointer = join("/inputs", *place)
        if violation.pointer == pointer or violation.pointer.startswith(f"{pointer}/"):
            tail = violation.pointer.removeprefix(pointer).removeprefix("/value")
            inside = f" (at {tail} of what is there)" if tail else ""
            return Violation(f"{pointer}/href", violation.message + inside)
    return violation


def _hosts(order: dict[str, Any]) -> list[tuple[str, str]]:
    """One file of each of the first hosts that files are at, with its pointer."""
    places: dict[tuple[str, ...], tuple[str, str]] = {}
    for name, value in order.items():
        for pointer, location in _locations(value, join("/inputs", name)):
            places.setdefault(tuple(location.split("/", 3)[:3]), (pointer, location))
            if len(places) >= MOST_HOSTS:
                return list(places.values())
    return list(places.values())


async def _check_files(places: list[tuple[str, str]], fetcher: Fetcher) -> None:
    """Raises URL_REFUSED for a file that would not be fetched. A name that leads nowhere may lead somewhere later."""
    slots = asyncio.Semaphore(8)

    async def check(pointer: str, location: str) -> None:
        async with slots:
            try:
                await fetcher.check(location)
            except InvalidArgument as refusal:
                if refusal.reason == ERROR_REASON_URL_REFUSED:
                    refusal.violations = (Violation(pointer, refusal.message),)
                    raise

    checks = [check(*place) for place in places]
    for answer in await asyncio.gather(*checks, return_exceptions=True):
        if isinstance(answer, BaseException):
            raise answer


def _locations(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, (list, dict)):
                yield from _locations(item, join(pointer, index))
    elif isinstance(value, dict):
        location = value.get("location")
        is_file = value.get("class") in ("File", "Directory") and isinstance(location, str)
        if is_file and str(location).startswith(("https:", "http:")):
            yield pointer, str(location)
        for name, item in value.items():
            if isinstance(item, (list, dict)):
                yield from _locations(item, join(pointer, name))


def _unfit(place: Place, message: str) -> InvalidArgument:
    return InvalidArgument(
        ERROR_REASON_INVALID_INPUTS,
        "The inputs do not fit the process: {problem}",
        violations=[Violation(join("/inputs", *place, "href"), message)],
        problem=message,
    )
