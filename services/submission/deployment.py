"""From the body of a deploy request to what a revision is made of."""

from dataclasses import replace

from google.api.httpbody_pb2 import HttpBody

from services.ogc.requests import RestRequest
from services.records.artifacts import ArtifactStore
from services.records.processes import package_key
from services.submission.facilities import Facilities
from services.submission.packages import PACKAGE_ACCEPT, Deployment, Package, PackageReader, parse_deploy_body
from services.submission.packages.limits import MAX_BYTES
from services.submission.processes import Deployable
from services.submission.staging.fetcher import Fetcher


def parse(body: HttpBody, rest: RestRequest | None) -> Deployment:
    """Reads the body of a deploy or replace request. Raises what `parse_deploy_body` raises."""
    # The transcoder replaces the content type of the request, and passes the client's on beside it.
    content_type = rest.content_type if rest is not None else body.content_type
    return parse_deploy_body(body.data, content_type or body.content_type)


class Deployer:
    """Reads packages, by value or by reference, and stores them by digest."""

    def __init__(
        self, reader: PackageReader, fetcher: Fetcher, artifacts: ArtifactStore, facilities: Facilities
    ) -> None:
        self._facilities = facilities
        self._reader = reader
        self._fetcher = fetcher
        self._artifacts = artifacts

    async def read(
        self, deployment: Deployment, *, workspace: str, workflow: str | None, process_id: str | None = None
    ) -> Package:
        """Reads the package, which is fetched where the request only points to it, and warns of what it needs that jobs
        of the workspace do not have. Raises what `Fetcher.fetch` and `PackageReader.read` raise."""
        document = deployment.document
        if document is None:
            assert deployment.href is not None
            document = (await self._fetcher.fetch(deployment.href, max_bytes=MAX_BYTES, accept=PACKAGE_ACCEPT)).body
        package = await self._reader.read(
            document,
            deployment.media_type,
            workflow=workflow,
            process_id=process_id,
            process_description=deployment.process_description,
        )
        needs, missing = self._facilities.judge(package.needs, workspace)
        description = package.description | ({"needs": needs} if needs else {})
        return replace(package, description=description, warnings=(*package.warnings, *missing))

    async def store(self, package: Package) -> Deployable:
        """Puts the package into the object store; one that is there already stays the same."""
        await self._artifacts.put(package_key(package.digest), package.document)
        return Deployable(
            digest=package.digest,
            media_type=package.media_type,
            workflow_id=package.workflow_id,
            description=package.description,
            cwl_inputs=package.cwl_inputs,
        )
