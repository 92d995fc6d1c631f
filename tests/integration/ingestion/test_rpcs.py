"""The RPCs of ingestion, over a channel and through every layer."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest
from google.api.httpbody_pb2 import HttpBody

from services.ingestion.harvest import LARGEST_MESSAGE
from services.ingestion.ingestions import IngestionStore
from services.ingestion.packages import Packages
from services.ingestion.service import IngestionService
from services.shared.names import IngestionName
from services.shared.postgres import Database
from tests.support.rpc import bearer, error_info, open_channel, over_rest, trailing, violations
from tests.support.tokens import Tokens
from workflow_runner.v1.ingestion_pb2 import Ingestion, IngestionAction
from workflow_runner.v1.ingestion_service_pb2 import (
    GetIngestionRequest,
    IngestHarvestRequest,
    ListIngestionsRequest,
    ListIngestionsResponse,
)
from workflow_runner.v1.ingestion_service_pb2_grpc import (
    IngestionServiceStub,
    add_IngestionServiceServicer_to_server,
)

MESSAGE: dict[str, Any] = {
    "id": "harvest-1",
    "workspace": "ada",
    "bucket_name": "harvest",
    "source": "git",
    "target": "",
    "added_keys": ["tools/ndvi.cwl", "README.md"],
    "updated_keys": [],
    "deleted_keys": ["tools/old.cwl"],
}
REST_PATH = "/workspaces/ada/ingestions"


class Caller:
    """Calls the service as somebody."""

    def __init__(self, stub: IngestionServiceStub, tokens: Tokens) -> None:
        self.stub = stub
        self.tokens = tokens
        self.metadata = bearer(tokens.user("ada"))

    def send(
        self,
        message: Any = MESSAGE,
        *,
        workspace: str = "ada",
        content_type: str = "application/json",
        metadata: Any = None,
    ) -> Any:
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        return self.stub.IngestHarvest(
            IngestHarvestRequest(
                parent=f"workspaces/{workspace}", message=HttpBody(content_type=content_type, data=data)
            ),
            metadata=self.metadata if metadata is None else metadata,
        )

    def get(self, name: str, *, metadata: Any = None) -> Any:
        return self.stub.GetIngestion(GetIngestionRequest(name=name), metadata=metadata or self.metadata)

    def list_page(self, *, workspace: str = "ada", metadata: Any = None, **fields: Any) -> Any:
        return self.stub.ListIngestions(
            ListIngestionsRequest(parent=f"workspaces/{workspace}", **fields), metadata=metadata or self.metadata
        )


class Woken:
    """Counts how often the harvesters were woken."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


@pytest.fixture
def woken() -> Woken:
    return Woken()


@pytest.fixture
async def caller(pool: Database, packages: Packages, tokens: Tokens, woken: Woken) -> AsyncIterator[Caller]:
    store = IngestionStore(pool)
    service = IngestionService(store, packages, wake=woken)
    async with open_channel(
        lambda server: add_IngestionServiceServicer_to_server(service, server),
        identity=tokens.identity,
        facts={IngestionName: store.facts},
    ) as channel:
        yield Caller(IngestionServiceStub(channel), tokens)


async def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), error_info(caught.value).reason


async def test_a_message_is_recorded_with_an_action_for_each_key(caller: Caller, woken: Woken) -> None:
    ingestion = await caller.send()

    assert (Ingestion.accepted, "harvest-1", "git", "harvest") == (
        ingestion.state, ingestion.message_id, ingestion.source, ingestion.bucket_name,
    )  # fmt: skip
    assert [
        ("tools/ndvi.cwl", IngestionAction.deploy, IngestionAction.pending),
        ("README.md", IngestionAction.ignore, IngestionAction.successful),
        ("tools/old.cwl", IngestionAction.undeploy, IngestionAction.pending),
    ] == [(action.key, action.verb, action.state) for action in ingestion.actions]
    assert not ingestion.HasField("end_time")
    assert not ingestion.links
    assert 1 == woken.times
    assert ingestion == await caller.get(ingestion.name)


async def test_a_message_without_packages_is_done_at_once(caller: Caller) -> None:
    ingestion = await caller.send({**MESSAGE, "added_keys": ["README.md"], "deleted_keys": []})

    assert Ingestion.successful == ingestion.state
    assert ingestion.HasField("end_time")


async def test_the_same_message_is_taken_in_once_however_often_it_comes(caller: Caller) -> None:
    again = json.dumps(dict(reversed(MESSAGE.items())), indent=2).encode()

    answers = await asyncio.gather(*(caller.send(message) for message in [MESSAGE, again] * 5))

    assert 1 == len({answer.name for answer in answers})
    assert 1 == len((await caller.list_page()).ingestions)


async def test_a_workspace_with_too_much_waiting_sends_again_later(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.ingestion.ingestions.MOST_PENDING", 2)
    first = await caller.send()
    bob = bearer(caller.tokens.user("bob"))

    refused = await refusal(caller.send({**MESSAGE, "id": "harvest-2"}))

    assert refused == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_REQUESTS")
    assert [entry.name for entry in (await caller.list_page()).ingestions] == [first.name]
    assert (await caller.send()).name == first.name
    await caller.send({**MESSAGE, "workspace": "bob"}, workspace="bob", metadata=bob)


async def test_another_message_under_the_same_id_is_refused(caller: Caller) -> None:
    await caller.send()

    refused = await refusal(caller.send({**MESSAGE, "added_keys": ["tools/other.cwl"]}))

    assert (grpc.StatusCode.ALREADY_EXISTS, "MESSAGE_ID_REUSED") == refused


async def test_the_same_id_from_another_source_or_workspace_is_another_message(caller: Caller) -> None:
    bob = bearer(caller.tokens.user("bob"))

    names = [
        (await caller.send()).name,
        (await caller.send({**MESSAGE, "source": "s3"})).name,
        (await caller.send({**MESSAGE, "workspace": "bob"}, workspace="bob", metadata=bob)).name,
    ]

    assert 3 == len(set(names))


async def test_a_message_without_an_id_is_known_by_its_content(caller: Caller) -> None:
    message = {name: value for name, value in MESSAGE.items() if name != "id"}

    first, again = await caller.send(message), await caller.send(message)
    other = await caller.send({**message, "commit": "2"})

    assert first.name == again.name != other.name
    assert first.message_id.startswith("sha256:")


@pytest.mark.parametrize("role", ["viewer", "executor", "operator"])
async def test_only_who_may_deploy_may_send(caller: Caller, role: Any) -> None:
    refused = await refusal(caller.send(metadata=bearer(caller.tokens.user("ada", role))))

    assert (grpc.StatusCode.PERMISSION_DENIED, "ACTION_NOT_ALLOWED") == refused
    assert not (await caller.list_page()).ingestions


async def test_nobody_sends_to_a_foreign_workspace_or_without_a_token(caller: Caller) -> None:
    message = {**MESSAGE, "workspace": "bob"}

    assert (grpc.StatusCode.PERMISSION_DENIED, "ACTION_NOT_ALLOWED") == await refusal(
        caller.send(message, workspace="bob")
    )
    assert (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING") == await refusal(caller.send(metadata=()))


async def test_a_message_for_another_workspace_than_its_path_is_refused(caller: Caller) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await caller.send({**MESSAGE, "workspace": "bob"})

    assert "INVALID_HARVEST_MESSAGE" == error_info(caught.value).reason
    assert ["/workspace"] == list(violations(caught.value))


@pytest.mark.parametrize("content_type", ["application/cloudevents+json", "text/plain", ""])
async def test_another_media_type_is_refused(caller: Caller, content_type: str) -> None:
    assert (grpc.StatusCode.INVALID_ARGUMENT, "UNSUPPORTED_MEDIA_TYPE") == await refusal(
        caller.send(content_type=content_type)
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await caller.send(metadata=caller.metadata + over_rest(REST_PATH, content_type))
    assert "415" == trailing(caught.value)["x-http-status"]


async def test_a_message_that_is_too_large_is_refused(caller: Caller) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await caller.send({**MESSAGE, "more": "x" * LARGEST_MESSAGE}, metadata=caller.metadata + over_rest(REST_PATH))

    assert "INVALID_HARVEST_MESSAGE" == error_info(caught.value).reason
    assert "413" == trailing(caught.value)["x-http-status"]


async def test_over_rest_a_message_is_answered_with_its_location(caller: Caller) -> None:
    call = caller.send(metadata=caller.metadata + over_rest(REST_PATH, "application/json; charset=utf-8"))
    ingestion = await call

    headers = dict(await call.initial_metadata())
    assert ("201", f"https://runner.example/{ingestion.name}") == (headers["x-http-status"], headers["location"])
    assert [("self", headers["location"])] == [(link.rel, link.href) for link in ingestion.links]


async def test_lists_go_from_the_newest_to_the_oldest_page_by_page(caller: Caller) -> None:
    sent = [(await caller.send({**MESSAGE, "id": str(number)})).name for number in range(5)]

    pages: list[ListIngestionsResponse] = [await caller.list_page(page_size=2)]
    while pages[-1].HasField("next_page_token"):
        pages.append(await caller.list_page(page_size=2, page_token=pages[-1].next_page_token))

    assert [2, 2, 1] == [len(page.ingestions) for page in pages]
    assert sent[::-1] == [ingestion.name for page in pages for ingestion in page.ingestions]
    assert 3 == len(pages[0].ingestions[0].actions)


async def test_a_page_of_large_ingestions_holds_fewer_of_them(caller: Caller) -> None:
    keys = [f"{number}.md" for number in range(900)]
    for number in range(4):
        await caller.send({**MESSAGE, "id": str(number), "added_keys": keys, "deleted_keys": []})

    first = await caller.list_page(page_size=10)
    second = await caller.list_page(page_size=10, page_token=first.next_page_token)

    assert (2, 2) == (len(first.ingestions), len(second.ingestions))
    assert not second.HasField("next_page_token")


async def test_over_rest_a_page_links_to_the_next(caller: Caller) -> None:
    for number in range(2):
        await caller.send({**MESSAGE, "id": str(number)})

    page = await caller.list_page(page_size=1, metadata=caller.metadata + over_rest(f"{REST_PATH}?limit=1"))

    links = {link.rel: link.href for link in page.links}
    assert f"https://runner.example{REST_PATH}?limit=1" == links["self"]
    assert f"https://runner.example{REST_PATH}?limit=1&pageToken={page.next_page_token}" == links["next"]


async def test_a_page_token_of_another_list_is_refused(caller: Caller) -> None:
    for number in range(2):
        await caller.send({**MESSAGE, "id": str(number)})
    token = (await caller.list_page(page_size=1)).next_page_token
    bob = bearer(caller.tokens.user("bob"))

    invalid = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PAGE_TOKEN")
    assert invalid == await refusal(caller.list_page(workspace="bob", metadata=bob, page_token=token))
    assert invalid == await refusal(caller.list_page(page_token=token[:-2]))
    assert invalid == await refusal(caller.list_page(page_token="%%%"))


async def test_a_foreign_ingestion_looks_like_one_that_does_not_exist(caller: Caller) -> None:
    name = (await caller.send()).name
    bob = bearer(caller.tokens.user("bob"))
    missing = "workspaces/ada/ingestions/01a20730-e87c-76ca-9890-4e84b2b2eca0"

    not_found = (grpc.StatusCode.NOT_FOUND, "NO_SUCH_INGESTION")
    assert not_found == await refusal(caller.get(missing))
    assert not_found == await refusal(caller.get(name, metadata=bob))
    assert not_found == await refusal(caller.get(missing, metadata=bob))
    assert not_found == await refusal(caller.get(name.replace("ada", "bob"), metadata=bob))
    assert (grpc.StatusCode.PERMISSION_DENIED, "ACTION_NOT_ALLOWED") == await refusal(caller.list_page(metadata=bob))


async def test_a_viewer_and_an_operator_may_look(caller: Caller) -> None:
    name = (await caller.send()).name

    for token in (caller.tokens.user("ada", "viewer"), caller.tokens.user("bob", "operator")):
        assert name == (await caller.get(name, metadata=bearer(token))).name
        assert [name] == [entry.name for entry in (await caller.list_page(metadata=bearer(token))).ingestions]


@pytest.mark.parametrize("workspace", ["../ada", "ADA", "a" * 64])
async def test_a_workspace_that_cannot_be_is_refused(caller: Caller, workspace: str) -> None:
    code, reason = await refusal(caller.send(workspace=workspace))

    assert (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_NAME") == (code, reason)


async def test_while_the_database_is_away_nothing_is_taken_in(
    caller: Caller, packages: Packages, tokens: Tokens
) -> None:
    async with Database.open("postgresql://nobody:nothing@127.0.0.1:1/nowhere", application="tests") as nowhere:
        store = IngestionStore(nowhere)
        service = IngestionService(store, packages, wake=Woken())
        async with open_channel(
            lambda server: add_IngestionServiceServicer_to_server(service, server),
            identity=tokens.identity,
            facts={IngestionName: store.facts},
        ) as channel:
            refused = await refusal(Caller(IngestionServiceStub(channel), tokens).send())

    assert (grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE") == refused
    assert not (await caller.list_page()).ingestions
