"""Writes down what a real OPA decides: `python -m tests.policy.freeze`, after every change of the policy.

The answers guard the embedded engine on machines without OPA. The first line names the policy they belong to.
"""

import asyncio
import gzip
import hashlib
import json
import random
import tempfile
from pathlib import Path

import aiohttp

from services.access.policy.files import policy_directory
from tests.policy.opa_server import MISSING, ask, find_opa, start_opa
from tests.policy.questions import OVERLAY, damaged, sensible

FROZEN = Path(__file__).with_name("frozen_answers.jsonl.gz")
SENSIBLE = 2000
DAMAGED = 4000
SEED = 20


def policy_digest() -> str:
    """Changes whenever the frozen answers have to be made again."""
    digest = hashlib.sha256(json.dumps(OVERLAY, sort_keys=True).encode())
    for name in ("workflow_runner.rego", "data.json"):
        digest.update((policy_directory() / name).read_bytes())
    return digest.hexdigest()


async def freeze() -> None:
    draw = random.Random(SEED)
    questions = [sensible(draw) for _ in range(SENSIBLE)] + [damaged(draw) for _ in range(DAMAGED)]
    lines = [json.dumps({"policy": policy_digest()})]
    with tempfile.TemporaryDirectory() as directory:
        async with (
            start_opa(Path(directory), OVERLAY) as socket,
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as session,
        ):
            for question in questions:
                answer = await ask(session, json.dumps(question))
                lines.append(json.dumps([question, answer], separators=(",", ":")))
    # Without a time in it, the same answers make the same file.
    FROZEN.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))


if __name__ == "__main__":
    if not find_opa():
        raise SystemExit(MISSING)
    asyncio.run(freeze())
