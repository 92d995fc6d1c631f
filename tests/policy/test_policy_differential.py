import gzip
import json
import random
from collections.abc import Iterator

import aiohttp
import pytest

from services.access.policy import EmbeddedEngine
from services.access.policy.files import policy_directory, read_data, read_modules
from tests.policy.freeze import FROZEN, policy_digest
from tests.policy.opa_server import MISSING, ask, find_opa, start_opa
from tests.policy.questions import OVERLAY, damaged, sensible

LIVE_QUESTIONS = 3000


@pytest.fixture
def engine(tmp_path) -> Iterator[EmbeddedEngine]:
    overlay = tmp_path / "overlay.json"
    overlay.write_text(json.dumps(OVERLAY))
    with EmbeddedEngine.open(read_modules(policy_directory()), read_data(policy_directory(), overlay)) as engine:
        yield engine


@pytest.fixture(scope="module")
def frozen() -> list[str]:
    return gzip.decompress(FROZEN.read_bytes()).decode().split("\n")


def test_the_frozen_answers_belong_to_this_policy(frozen):
    assert {"policy": policy_digest()} == json.loads(frozen[0]), "run `python -m tests.policy.freeze`"


def test_the_embedded_engine_decides_as_opa_did(engine, frozen):
    answers = [json.loads(line) for line in frozen[1:]]

    differences = [
        (question, answer, decided)
        for question, answer in answers
        if (decided := json.loads(engine.evaluate(json.dumps(question).encode()))) != answer
    ]

    assert differences[:3] == []
    assert len(answers) >= 5000
    assert 500 < sum(answer["allow"] for _, answer in answers) < len(answers) - 500


@pytest.mark.skipif(not find_opa(), reason=MISSING)
async def test_the_embedded_engine_decides_as_a_running_opa(engine, tmp_path):
    draw = random.Random()
    questions = [damaged(draw) if draw.random() < 0.8 else sensible(draw) for _ in range(LIVE_QUESTIONS)]

    async with (
        start_opa(tmp_path, OVERLAY) as socket,
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as session,
    ):
        for question in questions:
            text = json.dumps(question)
            assert await ask(session, text) == json.loads(engine.evaluate(text.encode())), text
