"""Status as its callers have it."""

from dataclasses import dataclass

from services.standalone.tokens import Role
from services.status.tail import EventTail
from tests.support.rpc import bearer, over_rest
from tests.support.tokens import Tokens
from workflow_runner.v1.status_service_pb2_grpc import StatusServiceStub


@dataclass
class Status:
    """The service as its callers have it, and what is behind it."""

    stub: StatusServiceStub
    tail: EventTail
    tokens: Tokens

    def as_user(
        self, workspace: str = "ada", role: Role = "owner", *, user: str = "ada"
    ) -> tuple[tuple[str, str], ...]:
        """The metadata of a gRPC call."""
        return bearer(self.tokens.user(workspace, role, user=user))

    def over_rest(self, path: str, **headers: str) -> tuple[tuple[str, str], ...]:
        """The metadata of a call by ada that came over REST."""
        named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        return (*self.as_user(), *over_rest(path), *named)
