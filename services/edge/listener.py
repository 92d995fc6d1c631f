"""The one port: what it reads of a request, and the filters that every request goes through."""

from pathlib import Path
from typing import Any

from services.edge.messages import Message, socket_of, typed
from services.edge.operations import FORMAT, Operation, page_paths
from services.edge.problems import local_replies
from services.edge.replies import BODY_LIMIT
from services.edge.routes import virtual_host

LARGEST_ASSET = 128 * 1024
LARGEST_ANSWER = 32 * 1024 * 1024
"""Of answers that are not streams."""

EXPOSED_HEADERS = (
    "accept-patch, accept-post, allow, content-disposition, content-range, etag, grpc-message, grpc-status, "
    "grpc-status-details-bin, link, location, preference-applied, retry-after, www-authenticate, x-request-id"
)
"""What a page of another origin may read."""

FORWARDED = ("x-forwarded-prefix", "x-forwarded-port")
"""Believed only of proxies of the operator, as are the host and the scheme."""


def listener(
    operations: list[Operation],
    *,
    host: str,
    port: int,
    descriptor: Path,
    access_log: Path | None,
    trusted_proxies: int,
) -> Message:
    """The listener of the edge."""
    return {
        "name": "edge",
        "address": socket_of(f"{host}:{port}"),
        # A second Envoy on the port must fail, not share it.
        "enable_reuse_port": False,
        "per_connection_buffer_limit_bytes": 32 * 1024,
        # Ends the watch of an HTTP/1.1 client that went without a word.
        "tcp_keepalive": {"keepalive_time": 60, "keepalive_interval": 15, "keepalive_probes": 4},
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "http",
                        "typed_config": _http(operations, descriptor, access_log, trusted_proxies),
                    }
                ]
            }
        ],
    }


def _http(operations: list[Operation], descriptor: Path, access_log: Path | None, trusted_proxies: int) -> Message:
    return typed(
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="edge",
        codec_type="AUTO",
        server_header_transformation="PASS_THROUGH",
        use_remote_address=True,
        xff_num_trusted_hops=trusted_proxies,
        always_set_request_id_in_response=True,
        # A path is refused or taken as it is: one that Envoy has rewritten would be another resource.
        normalize_path=False,
        merge_slashes=False,
        path_with_escaped_slashes_action="KEEP_UNCHANGED",
        # The script has smaller limits, and words for them.
        max_request_headers_kb=256,
        request_headers_timeout="10s",
        request_timeout="60s",
        stream_idle_timeout="120s",
        delayed_close_timeout="2s",
        drain_timeout="5s",
        common_http_protocol_options={
            "idle_timeout": "300s",
            "max_headers_count": 2000,
            # Some programs take an underscore for a hyphen, and would find a header that was removed as another.
            "headers_with_underscores_action": "DROP_HEADER",
        },
        # A method that is not known is refused as one that a resource has not, instead of as no HTTP.
        http_protocol_options={
            "allow_custom_methods": True,
            # What proxies and load generators speak that nobody has told of HTTP/1.1.
            "accept_http_10": True,
            "default_host_for_http_10": "localhost",
        },
        http2_protocol_options={
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 64 * 1024,
            "initial_connection_window_size": 1024 * 1024,
            # Ends the watch of a client that went without a word.
            "connection_keepalive": {"interval": "30s", "timeout": "20s"},
        },
        local_reply_config=local_replies(),
        access_log=[_access_log(access_log)],
        route_config={
            "name": "edge",
            "virtual_hosts": [virtual_host(operations)],
            "max_direct_response_body_size_bytes": LARGEST_ASSET,
        },
        http_filters=_filters(operations, descriptor, trusted_proxies),
    )


def _filters(operations: list[Operation], descriptor: Path, trusted_proxies: int) -> list[Message]:
    clusters = list(dict.fromkeys(operation.cluster for operation in operations))
    # In the order of the way in; the way out is the other way round.
    return [
        _filter(
            "cross-origin",
            "header_mutation.v3.HeaderMutation",
            mutations={
                "response_mutations": [
                    _set("access-control-allow-origin", "*"),
                    _set("access-control-expose-headers", EXPOSED_HEADERS),
                    _set("x-content-type-options", "nosniff"),
                    {"remove": "x-envoy-upstream-healthchecked-cluster"},
                ]
            },
        ),
        _filter("edge", "lua.v3.Lua", default_source_code={"inline_string": _script()}, clear_route_cache=False),
        _filter("forwarded", "header_mutation.v3.HeaderMutation", mutations=_forwarded(trusted_proxies)),
        _health("livez", {}),
        _health("readyz", {name: {"value": 1} for name in clusters}),
        _filter("grpc-web", "grpc_web.v3.GrpcWeb"),
        # For the routes that answer by themselves.
        {**_filter("buffer", "buffer.v3.Buffer", max_request_bytes=BODY_LIMIT), "disabled": True},
        # Trailers are for gRPC alone; the routes of REST say which ones go.
        _filter("trailers", "header_mutation.v3.HeaderMutation"),
        _filter(
            "transcoder",
            "grpc_json_transcoder.v3.GrpcJsonTranscoder",
            proto_descriptor=str(descriptor),
            services=list(dict.fromkeys(operation.service for operation in operations)),
            convert_grpc_status=True,
            # Names and file names are what they stand for, however they were encoded. A slash never gets here.
            url_unescape_spec="ALL_CHARACTERS_EXCEPT_SLASH",
            ignored_query_parameters=[FORMAT.name],
            max_request_body_size=BODY_LIMIT,
            max_response_body_size=LARGEST_ANSWER,
            request_validation_options={
                "reject_unknown_query_parameters": True,
                "reject_binding_body_field_collisions": True,
            },
            print_options={"always_print_primitive_fields": True},
        ),
        _filter("router", "router.v3.Router", suppress_envoy_headers=True),
    ]


def _filter(name: str, kind: str, **config: Any) -> Message:
    return {"name": name, "typed_config": typed(f"extensions.filters.http.{kind}", **config)}


def _script() -> str:
    patterns = (f'"^{path.replace("*", "[^/]+")}/?$"' for path in page_paths())
    pages = f"-- The paths that have a page, as the contract lists them.\nlocal PAGES = {{ {', '.join(patterns)} }}\n\n"
    return pages + Path(__file__).with_name("edge.lua").read_text()


def _health(name: str, clusters: Message) -> Message:
    return _filter(
        name,
        "health_check.v3.HealthCheck",
        pass_through_mode=False,
        headers=[{"name": ":path", "string_match": {"exact": f"/{name}"}}],
        cluster_min_healthy_percentages=clusters,
    )


def _forwarded(trusted_proxies: int) -> Message:
    host = {"key": "x-forwarded-host", "value": "%REQ(:authority)%"}
    if trusted_proxies:
        return {"request_mutations": [{"append": {"header": host, "append_action": "ADD_IF_ABSENT"}}]}
    return {
        "request_mutations": [
            _set("x-forwarded-host", "%REQ(:authority)%"),
            *({"remove": name} for name in FORWARDED),
        ]
    }


def _set(key: str, value: str) -> Message:
    return {"append": {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}


def _access_log(path: Path | None) -> Message:
    return {
        "name": "access",
        "filter": {"not_health_check_filter": {}},
        "typed_config": typed(
            "extensions.access_loggers.file.v3.FileAccessLog",
            path=str(path) if path else "/dev/stdout",
            log_format={
                "omit_empty_values": True,
                "json_format": {
                    "time": "%START_TIME%",
                    "protocol": "%PROTOCOL%",
                    "method": "%REQ(X-ENVOY-ORIGINAL-METHOD?:METHOD)%",
                    # Never the query or a header that could hold a secret.
                    "path": "%PATH(NQ:ORIG_OR_PATH):500%",
                    "route": "%ROUTE_NAME%",
                    "status": "%RESPONSE_CODE%",
                    "details": "%RESPONSE_CODE_DETAILS%",
                    "flags": "%RESPONSE_FLAGS%",
                    "received_bytes": "%BYTES_RECEIVED%",
                    "sent_bytes": "%BYTES_SENT%",
                    "duration_ms": "%DURATION%",
                    "upstream": "%UPSTREAM_HOST%",
                    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
                    "peer": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
                    "user_agent": "%REQ(USER-AGENT)%",
                    "request_id": "%REQ(X-REQUEST-ID)%",
                    "traceparent": "%REQ(TRACEPARENT)%",
                },
            },
        ),
    }
