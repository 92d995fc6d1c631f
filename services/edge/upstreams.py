"""The services as Envoy reaches them.

Envoy asks each for its gRPC health all the time, so that a service that drains is left alone before it closes and one
that is back is used at once (Envoy's defaults lose requests in every restart).
"""

import ipaddress
from pathlib import Path

from services.edge.messages import Address, Message, host_of, socket_of, typed

HEALTH_INTERVAL = "0.5s"


def cluster(name: str, address: Address) -> Message:
    """A service under its name."""
    return {
        "name": name,
        "type": "STATIC" if _is_fixed(address) else "STRICT_DNS",
        "connect_timeout": "2s",
        "dns_refresh_rate": "5s",
        "lb_policy": "LEAST_REQUEST",
        "common_lb_config": {
            # Without it Envoy goes on sending to hosts that it knows to be away, once most of them are.
            "healthy_panic_threshold": {"value": 0},
            # It would keep what it has learned to itself for a second.
            "update_merge_window": "0s",
        },
        "per_connection_buffer_limit_bytes": 1024 * 1024,
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
                "extensions.upstreams.http.v3.HttpProtocolOptions",
                explicit_http_config={
                    "http2_protocol_options": {
                        # Finds a peer that went without a word; the services allow a ping every 20 seconds.
                        "connection_keepalive": {"interval": "30s", "timeout": "20s"},
                        "initial_stream_window_size": 1024 * 1024,
                        "initial_connection_window_size": 16 * 1024 * 1024,
                    }
                },
            )
        },
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": 1000,
                    "max_pending_requests": 1000,
                    # Every watcher is a request that stays.
                    "max_requests": 10_000,
                    # Envoy's default of three retries at a time is what a restart under load exhausts first.
                    "retry_budget": {"budget_percent": {"value": 25}, "min_retry_concurrency": 32},
                }
            ]
        },
        "health_checks": [
            {
                "grpc_health_check": {},
                "timeout": "2s",
                "interval": HEALTH_INTERVAL,
                # A minute by default, which is how long a restart would go unnoticed on a quiet machine.
                "no_traffic_interval": HEALTH_INTERVAL,
                "no_traffic_healthy_interval": HEALTH_INTERVAL,
                "unhealthy_interval": "0.25s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
            }
        ],
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket_of(address)}}]}],
        },
    }


def _is_fixed(address: Address) -> bool:
    if isinstance(address, Path):
        return True
    try:
        ipaddress.ip_address(host_of(address))
    except ValueError:
        return False
    return True
