"""Prints the edge's configuration for a cluster: `python -m services.standalone.edge > deploy/envoy/envoy.yaml`."""

import sys
from pathlib import Path

from services.standalone.edge import render

HEADER = """\
# Generated from the contract by `make generate`; the parts of it are in services/standalone/edge.
"""


def main() -> None:
    """Prints the configuration that `deploy/` uses."""
    sys.stdout.write(
        HEADER
        + render(
            host="0.0.0.0",  # noqa: S104
            port=8080,
            submission="submission:50051",
            status="status:50052",
            ingestion="ingestion:50053",
            descriptor=Path("/etc/envoy/workflow_runner.binpb"),
            admin="127.0.0.1:9901",
        )
    )


if __name__ == "__main__":
    main()
