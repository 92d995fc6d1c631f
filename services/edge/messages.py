"""How Envoy's configuration is written: what several parts of it need."""

from pathlib import Path
from typing import Any

Message = dict[str, Any]
"""A message of Envoy's configuration, in its JSON form."""

Address = str | Path
"""A unix socket, as a path, or `host:port`."""


def typed(name: str, **fields: Any) -> Message:
    """A message in an `Any`; `name` is its full name without the leading `envoy.`."""
    return {"@type": f"type.googleapis.com/envoy.{name}", **fields}


def socket_of(address: Address, *, mode: int = 0) -> Message:
    """The address as Envoy writes it; `mode` is that of a unix socket which Envoy makes."""
    if isinstance(address, Path):
        return {"pipe": {"path": str(address), **({"mode": mode} if mode else {})}}
    host, _, port = address.rpartition(":")
    return {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}


def host_of(address: str) -> str:
    """The host of `host:port`, without the brackets of an IPv6 address."""
    return address.rpartition(":")[0].strip("[]")


def regex(pattern: str) -> Message:
    """Matches all of a text (RE2)."""
    return {"safe_regex": {"regex": pattern}}
