"""Starts submission: the wiring of its parts, in the order in which they are opened."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import structlog
import uvloop

from services.access.authorization import Authorizer
from services.access.identity import TokenVerifier
from services.access.policy import open_policy
from services.records.artifacts import ArtifactStore
from services.records.jobs import JobReader
from services.records.processes import ProcessReader
from services.records.schema import SchemaCheck
from services.serving.server import Layers, serve
from services.serving.settings import load
from services.shared.loop import Loop
from services.shared.names import JobName, ProcessName
from services.shared.postgres import Database
from services.shared.space import RUNNING, Space, local_path
from services.shared.telemetry import open_telemetry
from services.submission.acceptance import JobStore
from services.submission.backends import Limits
from services.submission.backends.cwltool import Cwltool
from services.submission.builtin.backend import Builtin
from services.submission.builtin.echo import ECHO, echo
from services.submission.builtin.installer import Installer
from services.submission.callbacks.sender import Sender
from services.submission.callbacks.store import CallbackStore, signing_keys
from services.submission.deployment import Deployer
from services.submission.dispatch.dispatcher import Dispatcher, Pace
from services.submission.dispatch.executions import Executions, LimitsPolicy
from services.submission.dispatch.sweeper import Sweeper
from services.submission.execution.revisions import RevisionReader
from services.submission.facilities import Facilities, memory_share_mib
from services.submission.packages import PackageReader
from services.submission.processes import ProcessStore
from services.submission.service import Stores, SubmissionService
from services.submission.settings import Settings
from services.submission.staging.fetcher import Fetcher
from services.submission.staging.files import StageIn
from workflow_runner.v1.submission_service_pb2_grpc import add_SubmissionServiceServicer_to_server

SENDERS = 4
"""How many callbacks are sent at a time, each to another destination."""

log = structlog.get_logger(__name__)


async def run(settings: Settings) -> None:
    """Serves until told to stop."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            open_telemetry("submission", export=settings.telemetry, log_level=settings.log_level)
        )
        database = await stack.enter_async_context(
            Database.open(
                settings.database.get_secret_value(),
                application="workflow-runner-submission",
                connections=settings.database_connections,
            )
        )
        verifier = await stack.enter_async_context(TokenVerifier.open(settings.identity))
        policy = await stack.enter_async_context(open_policy(settings.policy))
        space = open_space(settings)
        memory_mib = settings.limits.memory_mib or memory_share_mib(settings.slots)
        artifacts = ArtifactStore.open(settings.artifacts, space)
        fetcher = await stack.enter_async_context(
            Fetcher(
                allow_http_hosts=settings.fetch.http_hosts,
                allowed_networks=tuple(settings.fetch.private_networks),
                least_rate=settings.fetch.least_rate,
            )
        )
        stage_in = StageIn(fetcher, max_bytes=settings.fetch.inputs_mib * 1024 * 1024)
        backend = await stack.enter_async_context(
            Cwltool.open(
                settings.backend.runs_dir,
                stage_in,
                fork_server=settings.backend.fork_server,
                private_networks=[str(network) for network in settings.limits.private_networks],
                reserve_bytes=int(RUNNING * space.mark_bytes(settings.backend.runs_dir)),
            )
        )
        facilities = Facilities(
            memory_mib=memory_mib,
            cores=settings.limits.cores,
            network_workspaces=frozenset(settings.limits.network_workspaces),
            network_lacks=backend.network_lacks,
        )
        if settings.limits.network_workspaces and backend.network_lacks:
            log.warning("Jobs have no network.", reason=backend.network_lacks)
        reader = await stack.enter_async_context(PackageReader())

        stores = Stores(processes=ProcessStore(database), jobs=JobStore(database), revisions=RevisionReader(database))
        limits = LimitsPolicy(
            Limits(
                cores=settings.limits.cores,
                memory_mib=memory_mib,
                time=settings.limits.time,
                output_mib=settings.limits.output_mib,
                files=settings.limits.files,
                processes=settings.limits.processes,
            ),
            network_workspaces=frozenset(settings.limits.network_workspaces),
        )
        dispatcher = await stack.enter_async_context(
            Dispatcher(
                database,
                Executions(stores.revisions, artifacts, limits),
                artifacts,
                pace=Pace(slots=settings.slots, look_interval=settings.look_interval),
                settings=settings.dispatch,
                has_room=lambda: space.shortage() is None,
            ).open({"": backend, "builtin": Builtin()})
        )
        sweep = Loop(Sweeper(stores.jobs, artifacts).step, name="sweep", idle=timedelta(seconds=30))
        callbacks = CallbackStore(database)
        sender = Sender(callbacks, fetcher, lambda: signing_keys(database))
        send = [Loop(sender.step, name=f"send-{number}", idle=timedelta(seconds=1)) for number in range(SENDERS)]
        installer = Installer(stores.processes, {ECHO: echo()})
        install = Loop(installer.step, name="install", idle=timedelta(minutes=5))

        schema = SchemaCheck(database)

        async def ready() -> bool:
            if not await schema.is_ready():
                return False
            if not installer.done:
                # It may have found no schema yet, and wait longer and longer.
                install.wake()
            return installer.done

        service = SubmissionService(
            stores,
            Deployer(reader, fetcher, artifacts, facilities),
            fetcher=fetcher,
            artifacts=artifacts,
            space=space,
            wake=dispatcher.wake,
            longest_wait=settings.longest_wait,
        )
        authorizer = Authorizer(
            policy, {ProcessName: ProcessReader(database).facts, JobName: JobReader(database).facts}
        )
        await serve(
            lambda server: add_SubmissionServiceServicer_to_server(service, server),
            Layers(verifier, authorizer, public_url=settings.public_root),
            serving=settings.serving,
            loops=[install, *dispatcher.loops, *send, sweep],
            ready=ready,
        )


def open_space(settings: Settings) -> Space:
    """Watches the disks that this service fills."""
    settings.backend.runs_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    places = {"runs": settings.backend.runs_dir}
    if (folder := local_path(settings.artifacts.url)) is not None:
        folder.mkdir(parents=True, exist_ok=True)
        places["object store"] = folder
    return Space(places, settings.space)


def main() -> None:
    """Reads the settings and serves."""
    uvloop.install()
    asyncio.run(run(load(Settings)))


if __name__ == "__main__":
    main()
