"""What the services of one machine are told through their environment."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from services.standalone.directory import DataDirectory
from services.standalone.tokens import AUDIENCE, ISSUER

OPEN_BUCKETS = {"packages": ["*"]}
"""What is harvested on one machine, and by which workspaces, unless its environment says otherwise."""


def socket_of(run: Path, service: str) -> Path:
    """Where a service listens."""
    return run / f"{service}.sock"


@dataclass(frozen=True)
class Papers:
    """The files that services are to read beside what they work on."""

    jwks: Path
    policy_data: Path
    token: Path


def service_settings(
    service: str,
    *,
    directory: DataDirectory,
    run: Path,
    papers: Papers,
    database: str,
    policy: Mapping[str, str],
    grace: timedelta,
) -> Mapping[str, str]:
    """Gives the environment variables of a service; `policy` says which engine decides, without the prefix."""
    artifacts = {"ARTIFACTS__URL": directory.artifacts.as_uri()}
    own: Mapping[str, str] = {
        "submission": {
            "BACKEND__KIND": "cwltool",
            "BACKEND__RUNS_DIR": str(directory.runs),
            "SPACE__PATHS": json.dumps({"database": str(directory.path)}),
            **artifacts,
        },
        "status": artifacts,
        "ingestion": {
            "SUBMISSION_ADDRESS": f"unix:{socket_of(run, 'submission')}",
            "TOKEN_FILE": str(papers.token),
            "PACKAGES__URL": directory.harvest.as_uri(),
            "PACKAGES__BUCKETS": os.environ.get("INGESTION_PACKAGES__BUCKETS") or json.dumps(OPEN_BUCKETS),
        },
    }[service]
    every = {
        "LISTEN": f"unix:{socket_of(run, service)}",
        "DATABASE": database,
        "IDENTITY__ISSUER": ISSUER,
        "IDENTITY__AUDIENCE": json.dumps([AUDIENCE]),
        "IDENTITY__JWKS": str(papers.jwks),
        # One machine has no name of its own; each browser says by which it knows it.
        "PUBLIC_URL": os.environ.get(f"{service.upper()}_PUBLIC_URL") or "request",
        "REFLECTION": "true",
        # The door is closed before the services are told to end, so there is nobody left who must notice.
        "DRAIN": "PT0S",
        "GRACE": f"PT{grace.total_seconds():g}S",
    }
    return {f"{service.upper()}_{name}": value for name, value in {**every, **policy, **own}.items()}
