"""Where gRPC calls go: those of programs that speak gRPC, and what the transcoder has made of REST."""

from services.edge.messages import Message, typed
from services.edge.operations import Operation
from services.edge.replies import refusal

LONGEST_CALL = "75s"
"""How long anything but a stream may take; a synchronous execution may take a minute."""

SHARED_SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
"""Every service answers these for the whole suite."""
HEALTH = "grpc.health.v1.Health"

GRPC_CONTENT = {"name": "content-type", "string_match": {"prefix": "application/grpc"}}


# Sent again only while the service cannot have seen it.
UNSEEN = "connect-failure,refused-stream,reset-before-request"
# Sent again whatever happened, since a second time does no harm.
REPEATABLE = f"{UNSEEN},reset,unavailable,cancelled"


def grpc_routes(operations: list[Operation]) -> list[Message]:
    """A route for every RPC, and for health and reflection."""
    routes: list[Message] = []
    for operation in operations:
        match: Message = {"path": operation.path, "headers": [GRPC_CONTENT]}
        if operation.name == "ExecuteProcess":
            # Over gRPC the key is a field, which no route can see.
            keyed = [{"name": name, "present_match": True} for name in ("idempotency-key", "x-envoy-original-path")]
            routes.append(
                {
                    "name": operation.name,
                    "stat_prefix": operation.name,
                    "match": {**match, "headers": [GRPC_CONTENT, *keyed]},
                    "route": _to(operation.cluster, streams=False, retry_on=REPEATABLE),
                }
            )
        routes.append(
            {
                "name": operation.name,
                "stat_prefix": operation.name,
                "match": match,
                "route": _to(
                    operation.cluster, streams=operation.streams, retry_on=REPEATABLE if operation.reads else UNSEEN
                ),
            }
        )
    clusters = {operation.service: operation.cluster for operation in operations}
    for service, cluster in clusters.items():
        # An RPC that this edge does not know: the service says that it is not implemented.
        routes.append(_grpc_service(service, cluster))
        # grpc.health.v1 names the service in the message only; the script copies it into a header.
        asked = {"name": "x-health-service", "string_match": {"exact": service}}
        route = _grpc_service(HEALTH, cluster)
        route["match"]["headers"].append(asked)
        routes.append(route)
    routes.append(_grpc_service(HEALTH, "submission"))
    routes += [_grpc_service(service, "submission") for service in SHARED_SERVICES]
    unknown = refusal({"prefix": "/", "headers": [GRPC_CONTENT]}, 404, "There is no such gRPC service.", "unknown-grpc")
    # The messages of a stream may have no end.
    del unknown["typed_per_filter_config"]["buffer"]
    return [*routes, unknown]


def _grpc_service(service: str, cluster: str) -> Message:
    return {
        "name": service,
        "stat_prefix": service.replace(".", "_"),
        "match": {"prefix": f"/{service}/", "headers": [GRPC_CONTENT]},
        "route": _to(cluster, streams=True, retry_on=UNSEEN),
    }


def _to(cluster: str, *, streams: bool, retry_on: str) -> Message:
    return {
        **lasting(cluster, streams=streams),
        "retry_policy": {
            "retry_on": retry_on,
            "num_retries": 2,
            "retry_back_off": {"base_interval": "0.05s", "max_interval": "1s"},
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": typed("extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
                }
            ],
            "host_selection_retry_max_attempts": 3,
        },
    }


def lasting(cluster: str, *, streams: bool) -> Message:
    """Goes to a cluster and waits as long as such an answer may take."""
    if streams:
        return {"cluster": cluster, "timeout": "0s", "idle_timeout": "0s"}
    return {"cluster": cluster, "timeout": LONGEST_CALL}
