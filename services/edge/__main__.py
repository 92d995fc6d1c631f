"""Prints the edge's configuration for a cluster: `python -m services.edge > deploy/envoy/envoy.yaml`."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from services.edge import render

HEADER = """\
# Generated from the contract by `make generate`; the parts of it are in services/standalone/edge.
"""


def main() -> None:
    """Prints the configuration that `deploy/` uses."""
    text = render(
        host="0.0.0.0",  # noqa: S104
        port=8080,
        submission="submission:50051",
        status="status:50052",
        ingestion="ingestion:50053",
        descriptor=Path("/etc/envoy/workflow_runner.binpb"),
        admin="127.0.0.1:9901",
    )
    yaml = YAML()
    yaml.width = 4096
    sys.stdout.write(HEADER)
    yaml.dump(_readable(json.loads(text)), sys.stdout)


def _readable(value: object) -> object:
    """Has texts of several lines, such as the script, written as they are."""
    if isinstance(value, Mapping):
        return {key: _readable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_readable(item) for item in value]
    if isinstance(value, str) and "\n" in value:
        return LiteralScalarString(value)
    return value


if __name__ == "__main__":
    main()
