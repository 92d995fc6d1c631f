"""The RPCs of IngestionService."""

from collections.abc import Callable

from services.ingestion.harvest import parse_harvest
from services.ingestion.ingestions import IngestionStore
from services.ingestion.packages import Packages
from services.ogc.paging import INGESTIONS_ON_A_PAGE, page_links, page_size
from services.ogc.requests import respond
from services.serving.server import Context, current_call
from services.shared.errors import InvalidArgument, Violation
from services.shared.names import IngestionName, WorkspaceName
from workflow_runner.v1.error_reason_pb2 import (
    ERROR_REASON_INVALID_HARVEST_MESSAGE,
    ERROR_REASON_UNSUPPORTED_MEDIA_TYPE,
)
from workflow_runner.v1.ingestion_pb2 import Ingestion
from workflow_runner.v1.ingestion_service_pb2 import (
    GetIngestionRequest,
    IngestHarvestRequest,
    ListIngestionsRequest,
    ListIngestionsResponse,
)
from workflow_runner.v1.ingestion_service_pb2_grpc import IngestionServiceServicer


class IngestionService(IngestionServiceServicer):
    """Takes in harvest messages, and tells what became of them."""

    def __init__(self, ingestions: IngestionStore, packages: Packages, *, wake: Callable[[], None]) -> None:
        """`wake` is called when a message was recorded."""
        self._ingestions = ingestions
        self._packages = packages
        self._wake = wake

    async def IngestHarvest(self, request: IngestHarvestRequest, context: Context) -> Ingestion:
        """Records a harvest message."""
        call = current_call()
        workspace = WorkspaceName.parse(request.parent).workspace
        _check_media_type(call.rest.content_type if call.rest else request.message.content_type)
        harvest = parse_harvest(request.message.data, workspace)
        self._check_bucket(workspace, harvest.bucket_name)
        ingestion = await self._ingestions.accept(workspace, harvest, received_from=call.subject.id)
        self._wake()
        if call.rest:
            await respond(context, 201, {"location": call.rest.url(ingestion.name)})
        return ingestion.to_message(call.rest)

    async def ListIngestions(self, request: ListIngestionsRequest, context: Context) -> ListIngestionsResponse:
        """Lists ingestions."""
        call = current_call()
        assert call.decision.filter is not None
        parent = WorkspaceName.parse(request.parent)
        page = await self._ingestions.list_page(
            parent.workspace,
            call.decision.filter,
            page_size=page_size(request.page_size if request.HasField("page_size") else None, INGESTIONS_ON_A_PAGE),
            page_token=request.page_token,
        )
        return ListIngestionsResponse(
            ingestions=[ingestion.to_message(call.rest) for ingestion in page.ingestions],
            links=page_links(call.rest, call.rest.url(parent, "ingestions"), page.next_page_token) if call.rest else (),
            next_page_token=page.next_page_token,
        )

    async def GetIngestion(self, request: GetIngestionRequest, context: Context) -> Ingestion:
        """Answers an ingestion."""
        ingestion = await self._ingestions.get(IngestionName.parse(request.name))
        return ingestion.to_message(current_call().rest)

    def _check_bucket(self, workspace: str, bucket_name: str) -> None:
        if message := self._packages.refusal(workspace, bucket_name):
            raise InvalidArgument(
                ERROR_REASON_INVALID_HARVEST_MESSAGE, message, violations=[Violation("/bucket_name", message)]
            )


def _check_media_type(content_type: str) -> None:
    media_type, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if media_type != "application/json" or any(parameter not in ("", "charset=utf-8") for parameter in parameters):
        raise InvalidArgument(
            ERROR_REASON_UNSUPPORTED_MEDIA_TYPE,
            "A harvest message is {supported}, not {media_type}.",
            http_status=415,
            media_type=content_type[:100] or "without a content type",
            supported="application/json",
        )
