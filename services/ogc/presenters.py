"""Messages as callers over REST get them: with links, and shaped for clients of the EO DataHub under its paths."""

from collections.abc import Sequence
from urllib.parse import quote

import orjson
from google.api.httpbody_pb2 import HttpBody

from services.ogc.preconditions import etag_of
from services.ogc.requests import OGC_RELATIONS, RestRequest
from services.records.jobs import Job
from services.records.processes import Process
from services.shared.messages import json_body
from workflow_runner.v1.job_pb2 import Job as JobMessage
from workflow_runner.v1.job_pb2 import JobStep
from workflow_runner.v1.link_pb2 import Link
from workflow_runner.v1.process_pb2 import Process as ProcessMessage


def job_message(job: Job, rest: RestRequest | None, *, steps: Sequence[JobStep] = ()) -> JobMessage:
    """Returns the message of a job; `rest` is None for a caller over gRPC."""
    message = job.to_message(steps=steps)
    if rest is None:
        return message
    if rest.alias and job.state == "accepted":
        # Clients of the EO DataHub wait only for what is running.
        message.state = JobMessage.State.running
        message.start_time.CopyFrom(message.create_time)
    message.links.extend(_job_links(job, rest, steps))
    return message


def process_message(
    process: Process, rest: RestRequest | None, *, warnings: tuple[str, ...] = (), document: bool = False
) -> ProcessMessage:
    """Returns the message of a process, with the whole description when asked."""
    message = process.to_message(warnings=warnings)
    if rest is not None:
        message.links.extend(_process_links(process, rest))
    if document:
        message.document.CopyFrom(_description(process, rest))
    return message


def process_etag(process: Process, rest: RestRequest | None) -> str:
    """Returns the entity tag of the description, as a caller has it who comes that way."""
    return etag_of(_description(process, rest).data)


def _job_links(job: Job, rest: RestRequest, steps: Sequence[JobStep]) -> list[Link]:
    url = rest.url(job.name)
    links = [
        rest.link("self", url, title="This job"),
        *rest.page_for_people(url),
        rest.link("monitor", url, title="Status of the job"),
        rest.link(
            "up", rest.url(f"workspaces/{job.workspace}/processes/{job.process_id}"), title="The process executed"
        ),
        rest.link("related", f"{url}/events", media_type="text/event-stream", title="What happens, as it happens"),
        rest.link("related", f"{url}/logs", title="Logs, one for each step"),
    ]
    if job.state == "successful":
        links.append(rest.link(OGC_RELATIONS + "results", f"{url}/results", title="Results"))
    elif job.state == "failed":
        links.append(rest.link(OGC_RELATIONS + "exceptions", f"{url}/results", title="Why the job failed"))
    if rest.alias and job.ended:
        links += [
            rest.link(
                "related",
                f"{url}/{quote(step.step, safe='')}.log",
                media_type="text/plain",
                title=f"Tool log {step.step}.log",
            )
            for step in steps
        ]
    return links


def _description(process: Process, rest: RestRequest | None) -> HttpBody:
    links = [
        {"href": link.href, "rel": link.rel, "type": link.type, "title": link.title}
        for link in (_process_links(process, rest) if rest else ())
    ]
    described = process.description | {
        "id": process.process_id,
        "mutable": process.mutable,
        "revision": process.revision,
        "digest": process.digest,
        "visibility": process.visibility,
        "links": links,
    }
    return json_body(orjson.dumps(described))


def _process_links(process: Process, rest: RestRequest) -> list[Link]:
    url = rest.url(process.name)
    links = [
        rest.link("self", url, title="Process description"),
        *rest.page_for_people(url),
        rest.link(OGC_RELATIONS + "execute", f"{url}/execution", title="Execute the process"),
    ]
    if process.backend != "builtin":
        links.append(rest.link("related", f"{url}/package", media_type=process.media_type, title="The package"))
    return links
