import asyncio
import gc
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from services.access.identity import ANONYMOUS, Subject
from services.access.policy import Embedded, EmbeddedEngine, Opa, PolicyInput, PolicySettings, open_policy
from services.access.policy.files import PolicyDataError
from services.shared.errors import Unavailable
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_AUTHORIZATION_UNAVAILABLE

DEVELOPER = Subject(id="ada", claims={"workspaces": {"w": "developer"}}, token_expiry=None)
DEPLOY = PolicyInput(subject=DEVELOPER, action="process.deploy", workspace="w", resource={"type": "workspace"})


def engine_saying(rule: str) -> AbstractContextManager[EmbeddedEngine]:
    module = f"package workflow_runner.authz\nimport rego.v1\n{rule}\n"
    return EmbeddedEngine.open({"policy.rego": module}, {})


async def test_the_packaged_policy_decides():
    async with open_policy(Embedded()) as engine:
        decision = await engine.decide(DEPLOY)

    assert (decision.allow, decision.reason) == (True, "role")


async def test_the_operators_data_is_laid_over_the_packaged_data(tmp_path):
    data = tmp_path / "data.json"
    data.write_text(json.dumps({"workflow_runner_config": {"anonymous": {"try": "developer"}}}))

    async with open_policy(Embedded(data=data)) as engine:
        opened, other = [
            await engine.decide(
                PolicyInput(subject=ANONYMOUS, action="process.deploy", workspace=name, resource={"type": "workspace"})
            )
            for name in ("try", "w")
        ]

    assert (opened.allow, other.allow) == (True, False)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not JSON"),
        ("[]", "is not an object"),
        ('{"workflow_runner_config": {"anonymous": {"w": "king"}}}', "there is no role 'king'"),
        ('{"workflow_runner_config": {"anonymus": {}}}', "workflow_runner_config.anonymus"),
        ('{"workflow_runner_config": {"roles": {"viewer": "9"}}}', "workflow_runner_config.roles.viewer"),
        ('{"workflow_runner_config": {"stranger_actions": {"job.bless": true}}}', "there is no action 'job.bless'"),
    ],
)
async def test_unusable_data_stops_the_start_with_a_sentence(tmp_path, text, sentence):
    data = tmp_path / "data.json"
    data.write_text(text)

    with pytest.raises(PolicyDataError, match=sentence):
        async with open_policy(Embedded(data=data)):
            pass


async def test_a_missing_policy_stops_the_start(tmp_path):
    with pytest.raises(PolicyDataError, match="There is no policy in"):
        async with open_policy(Embedded(policy_dir=tmp_path)):
            pass


def test_a_policy_that_cannot_be_compiled_stops_the_start():
    with pytest.raises(PolicyDataError, match="cannot be compiled"), engine_saying("decision := "):
        pass


@pytest.mark.parametrize(
    "rule",
    [
        "decision := input.nothing",
        "decision := true",
        'decision := "true"',
        'decision := {"allow": "true", "reason": "", "hidden": false, "calling_workspace": "", "filter": null}',
        "decision := {}",
        'decision := {"allow": count([n | some n in numbers.range(1, 30000); n > 0]) > 0}',
    ],
)
async def test_an_engine_that_cannot_say_allows_nothing(rule):
    with engine_saying(rule) as engine, pytest.raises(Unavailable) as refusal:
        await engine.decide(DEPLOY)

    assert refusal.value.reason == ERROR_REASON_AUTHORIZATION_UNAVAILABLE


async def test_the_engine_goes_on_after_a_question_that_it_could_not_answer():
    rule = 'decision := {"allow": input.action == "process.deploy", "reason": "", "hidden": false, '
    rule += '"calling_workspace": "", "filter": null} if input.workspace == "w"'
    elsewhere = PolicyInput(subject=DEVELOPER, action="process.deploy", workspace="v")

    with engine_saying(rule) as engine:
        with pytest.raises(Unavailable):
            await engine.decide(elsewhere)

        assert (await engine.decide(DEPLOY)).allow


async def test_a_call_from_another_thread_is_refused():
    async with open_policy(Embedded()) as engine:
        with ThreadPoolExecutor(1) as other, pytest.raises(Unavailable):
            other.submit(asyncio.run, engine.decide(DEPLOY)).result()

        assert (await engine.decide(DEPLOY)).allow


async def test_an_engine_that_was_closed_may_be_collected_on_any_thread(monkeypatch):
    complaints: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    async with open_policy(Embedded()) as engine:
        assert isinstance(engine, EmbeddedEngine)
        with pytest.raises(RuntimeError) as refusal, ThreadPoolExecutor(1) as other:
            other.submit(engine.evaluate, b"{}").result()
    around = [engine, refusal]
    around.append(around)

    del engine, refusal, around, other
    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(gc.collect).result()

    assert [] == complaints


@pytest.mark.parametrize("claims", [{"groups": ["\ud800"]}, {"groups": [2**70]}, {"groups": [object()]}])
async def test_claims_that_json_cannot_carry_are_refused(claims):
    subject = Subject(id="ada", claims={"workspaces": {"w": "developer"}, **claims}, token_expiry=None)

    async with open_policy(Embedded()) as engine:
        decision = await engine.decide(PolicyInput(subject=subject, action="process.deploy", workspace="w"))

    assert (decision.allow, decision.reason) == (False, "invalid_input")


def test_the_engine_is_a_setting():
    settings = TypeAdapter(PolicySettings)

    assert settings.validate_python({"kind": "embedded"}) == Embedded()
    assert isinstance(settings.validate_python({"kind": "opa", "socket": "/run/opa.sock"}), Opa)
    with pytest.raises(ValidationError):
        settings.validate_python({"kind": "none"})
