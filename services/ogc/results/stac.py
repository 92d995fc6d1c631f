"""Results as one STAC collection, for jobs that left a STAC catalog: all of its items, with links to their downloads.

A catalog is whatever a job wrote. What its documents link to is looked up in what the job left, and all that is read of
it has an end.
"""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

import orjson

from services.ogc.requests import RestRequest
from services.ogc.results.contents import Content, File, file_pieces, files_of, json_content, output_url
from services.ogc.results.documents import selected
from services.records.artifacts import ArtifactStore
from services.records.jobs import Job

CATALOG = "catalog.json"
MOST_BYTES = 16 * 1024 * 1024
"""Of all documents that are read for one answer."""
MOST_ITEMS = 10_000
MOST_ITEMS_READ = 100
"""For the extent, where no collection of the job's own tells it."""
EVERYWHERE = [-180.0, -90.0, 180.0, 90.0]
ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


async def result_collection(job: Job, rest: RestRequest, artifacts: ArtifactStore) -> Content | None:
    """The results of a job as a STAC collection of all items in the first output that is a STAC catalog; None without
    one."""
    for output, entry in selected(job).items():
        files = files_of(job, output, entry) if entry and "directory" in entry else {}
        if CATALOG in files:
            walk = Walk(files, output_url(job, output, rest), artifacts)
            if await walk.run():
                return json_content(await _collection(job, rest, walk))
    return None


@dataclass
class Walk:
    """A walk through a catalog."""

    files: Mapping[str, File]
    url: str
    artifacts: ArtifactStore
    items: dict[str, None] = field(default_factory=dict)
    """Where the items are, in the order in which they were found."""
    collections: list[dict[str, Any]] = field(default_factory=list)
    left_bytes: int = MOST_BYTES

    async def run(self) -> bool:
        """Follows all links to catalogs, collections and items. False when there is no catalog to begin with."""
        waiting, known = [CATALOG], {CATALOG}
        while waiting:
            place = waiting.pop(0)
            document = await self.read(place)
            if place == CATALOG and (document is None or document.get("type") != "Catalog"):
                return False
            if document is None:
                continue
            if document.get("type") == "Collection":
                self.collections.append(document)
            for rel, href in _links(document):
                target = self.find(place, href)
                if target is None:
                    continue
                if rel == "item" and len(self.items) < MOST_ITEMS:
                    self.items[target] = None
                elif rel == "child" and target not in known:
                    known.add(target)
                    waiting.append(target)
        return True

    def find(self, place: str, href: str) -> str | None:
        """The file that a link of a document leads to: as a URL has it, or as a job wrote the name of its file."""
        for written in (unquote(href), href):
            target = posixpath.normpath(posixpath.join(posixpath.dirname(place), written))
            if target in self.files:
                return target
        return None

    async def read(self, place: str) -> dict[str, Any] | None:
        """A document; None for what is too large, or no JSON object."""
        file = self.files[place]
        self.left_bytes -= file.size
        if self.left_bytes < 0:
            return None
        try:
            found = orjson.loads(b"".join([piece async for piece in file_pieces(file, self.artifacts, 0, file.size)]))
        except orjson.JSONDecodeError:
            return None
        return found if isinstance(found, dict) else None

    def href(self, place: str) -> str:
        """Where a file of the catalog can be downloaded."""
        return f"{self.url}/{quote(place)}"


async def _collection(job: Job, rest: RestRequest, walk: Walk) -> dict[str, Any]:
    root = {"href": walk.href(CATALOG), "type": "application/json"}
    return {
        "type": "Collection",
        "id": f"col_{job.job_id}",
        "stac_version": "1.0.0",
        "title": f"Result Collection for Job {job.job_id}",
        "description": f"What job {job.job_id} of process {job.process_id} left.",
        "keywords": [job.process_id],
        "license": "proprietary",
        "extent": await _extent(walk),
        "links": [
            {"rel": "root", **root},
            *({"rel": "item", "href": walk.href(place), "type": "application/geo+json"} for place in walk.items),
            {"rel": "self", "href": rest.url(job.name, "results"), "type": "application/json"},
            {"rel": "parent", **root},
        ],
    }


async def _extent(walk: Walk) -> dict[str, Any]:
    """The extent of the one collection there is; otherwise that of the items, and the world where they are many."""
    if len(walk.collections) == 1 and (extent := _sound_extent(walk.collections[0].get("extent"))) is not None:
        return extent
    boxes: list[list[float]] = []
    moments: list[datetime] = []
    if len(walk.items) <= MOST_ITEMS_READ:
        for item in [await walk.read(place) for place in walk.items]:
            boxes.append(_box((item or {}).get("bbox")) or EVERYWHERE)
            properties = (item or {}).get("properties")
            if isinstance(properties, dict):
                given = (properties.get(name) for name in ("datetime", "start_datetime", "end_datetime"))
                moments += [moment for moment in map(_moment, given) if moment is not None]
    boxes = boxes or [EVERYWHERE]
    west, south, east, north = zip(*boxes, strict=True)
    return {
        "spatial": {"bbox": [[min(west), min(south), max(east), max(north)]]},
        "temporal": {"interval": [[_written(min(moments)), _written(max(moments))] if moments else [None, None]]},
    }


def _sound_extent(extent: Any) -> dict[str, Any] | None:
    match extent:
        case {"spatial": {"bbox": [_, *_] as boxes}, "temporal": {"interval": [[_, _], *_] as intervals}}:
            moments = [moment for interval in intervals if isinstance(interval, list) for moment in interval]
            if all(map(_box, boxes)) and all(moment is None or _moment(moment) for moment in moments):
                return {"spatial": {"bbox": boxes}, "temporal": {"interval": intervals}}
    return None


def _box(given: Any) -> list[float] | None:
    """A bounding box without its heights."""
    if not isinstance(given, list) or not all(type(number) in (int, float) for number in given):
        return None
    match given:
        case [west, south, east, north] | [west, south, _, east, north, _]:
            return [west, south, east, north]
    return None


def _moment(given: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(given)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _written(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _links(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = document.get("links")
    links = [link for link in found if isinstance(link, dict)] if isinstance(found, list) else []
    return [
        (str(link.get("rel")), link["href"])
        for link in links
        if isinstance(link.get("href"), str) and not ABSOLUTE.match(link["href"])
    ]
