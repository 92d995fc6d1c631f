"""What becomes of the actions of a harvest message, on good days and bad ones."""

import asyncio
import os
import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services.ingestion.actions import HOLDING_UP, ActionStore
from services.ingestion.harvester import LEAST_ATTEMPTS, Harvester
from services.ingestion.packages import LARGEST_PACKAGE, Packages, PackageSettings
from services.ingestion.submission import SubmissionClient, TokenFile
from services.shared.errors import InvalidArgument, Unauthenticated, Unavailable
from services.shared.postgres import Database
from tests.integration.ingestion.conftest import GIVE_UP_AFTER, LEASE, Bench
from tests.integration.ingestion.fake_submission import package, serve_submission
from workflow_runner.v1.error_reason_pb2 import (
    ERROR_REASON_DATABASE_UNAVAILABLE,
    ERROR_REASON_INVALID_PACKAGE,
    ERROR_REASON_TOKEN_EXPIRED,
)


async def test_an_added_package_is_deployed(bench: Bench) -> None:
    bench.put("tools/ndvi.cwl", package("ndvi"))
    ingestion = await bench.send(added_keys=["tools/ndvi.cwl"])

    await bench.work()

    ingestion = await bench.read(ingestion)
    (action,) = ingestion.actions
    assert (ingestion.state, action.state) == ("successful", "successful")
    assert (
        action.verb, action.process_id, action.revision, action.message, action.attempts,
    ) == ("deploy", "ndvi", 1, None, 1)  # fmt: skip
    assert ingestion.end_time is not None
    assert list(bench.submission.processes) == ["workspaces/ada/processes/ndvi"]
    assert await bench.harvested() == {"tools/ndvi.cwl": "ndvi"}


async def test_submission_sees_the_token_of_ingestion(bench: Bench) -> None:
    bench.put("ndvi.cwl", package("ndvi"))
    await bench.send(added_keys=["ndvi.cwl"])

    await bench.work()

    assert bench.submission.metadata[0]["authorization"].startswith("Bearer ey")


@pytest.mark.parametrize("member", ["added_keys", "updated_keys"])
async def test_a_process_that_is_there_is_replaced(bench: Bench, member: str) -> None:
    bench.put("ndvi.cwl", package("ndvi", "one"))
    await bench.send(id="1", added_keys=["ndvi.cwl"])
    await bench.work()

    bench.put("ndvi.cwl", package("ndvi", "two"))
    change: dict[str, Any] = {member: ["ndvi.cwl"]}
    second = await bench.send(id="2", **change)
    await bench.work()

    (action,) = (await bench.read(second)).actions
    assert (action.state, action.revision) == ("successful", 2)


async def test_the_same_package_again_makes_no_revision(bench: Bench) -> None:
    bench.put("ndvi.cwl", package("ndvi"))
    await bench.send(id="1", added_keys=["ndvi.cwl"])
    second = await bench.send(id="2", updated_keys=["ndvi.cwl"])

    await bench.work()

    (action,) = (await bench.read(second)).actions
    assert (action.state, action.revision) == ("successful", 1)


async def test_a_process_that_somebody_undeployed_is_deployed_again(bench: Bench) -> None:
    bench.put("ndvi.cwl", package("ndvi"))
    await bench.send(id="1", added_keys=["ndvi.cwl"])
    await bench.work()
    bench.submission.processes.clear()

    await bench.send(id="2", updated_keys=["ndvi.cwl"])
    await bench.work()

    assert list(bench.submission.processes) == ["workspaces/ada/processes/ndvi"]


async def test_the_process_of_a_deleted_key_is_undeployed(bench: Bench) -> None:
    bench.put("ndvi.cwl", package("ndvi"))
    await bench.send(id="1", added_keys=["ndvi.cwl"])
    second = await bench.send(id="2", deleted_keys=["ndvi.cwl"])

    await bench.work()

    (action,) = (await bench.read(second)).actions
    assert (action.verb, action.state, action.process_id) == ("undeploy", "successful", "ndvi")
    assert bench.submission.processes == {}
    assert await bench.harvested() == {}


async def test_a_deleted_key_whose_process_is_gone_already_is_done(bench: Bench) -> None:
    bench.put("ndvi.cwl", package("ndvi"))
    await bench.send(id="1", added_keys=["ndvi.cwl"])
    await bench.work()
    bench.submission.processes.clear()

    second = await bench.send(id="2", deleted_keys=["ndvi.cwl"])
    await bench.work()

    assert (await bench.read(second)).state == "successful"


async def test_a_deleted_key_that_nobody_knows_is_ignored(bench: Bench) -> None:
    ingestion = await bench.send(deleted_keys=["never-seen.cwl"])

    await bench.work()

    ingestion = await bench.read(ingestion)
    assert (ingestion.state, ingestion.actions[0].verb) == ("successful", "ignore")
    assert ingestion.actions[0].message
    assert bench.submission.calls == []


async def test_a_process_stays_when_its_package_moves_to_another_key(bench: Bench) -> None:
    bench.put("old.cwl", package("ndvi"))
    await bench.send(id="1", added_keys=["old.cwl"])
    bench.put("new.cwl", package("ndvi"))
    await bench.send(id="2", added_keys=["new.cwl"], deleted_keys=["old.cwl"])

    await bench.work()

    assert list(bench.submission.processes) == ["workspaces/ada/processes/ndvi"]
    assert await bench.harvested() == {"new.cwl": "ndvi"}


async def test_a_package_that_changes_its_id_leaves_no_process_behind(bench: Bench) -> None:
    bench.put("tool.cwl", package("ndvi"))
    await bench.send(id="1", added_keys=["tool.cwl"])
    await bench.work()

    bench.put("tool.cwl", package("evi"))
    await bench.send(id="2", updated_keys=["tool.cwl"])
    await bench.work()

    assert list(bench.submission.processes) == ["workspaces/ada/processes/evi"]
    assert await bench.harvested() == {"tool.cwl": "evi"}


async def test_keys_of_one_workspace_are_not_those_of_another(bench: Bench) -> None:
    bench.put("ndvi.cwl", package("ndvi"))
    await bench.send("ada", added_keys=["ndvi.cwl"])
    await bench.send("bob", deleted_keys=["ndvi.cwl"])

    await bench.work()

    assert list(bench.submission.processes) == ["workspaces/ada/processes/ndvi"]


@pytest.mark.parametrize(
    ("key", "content"),
    [
        ("item.json", b'{"type": "Feature", "stac_version": "1.0.0"}'),
        ("values.yaml", b"replicas: 1\n"),
        ("broken.json", b'{"cwlVersion": '),
        ("README.md", b"cwlVersion: v1.2"),
        ("ndvi.access-policy.json", b'{"cwlVersion": "v1.2"}'),
        ("ndvi.access_policy.json", b"{}"),
    ],
)
async def test_what_is_no_package_is_ignored_and_says_why(bench: Bench, key: str, content: bytes) -> None:
    bench.put(key, content)
    ingestion = await bench.send(added_keys=[key])

    await bench.work()

    ingestion = await bench.read(ingestion)
    assert (
        ingestion.state, ingestion.actions[0].verb, ingestion.actions[0].state,
    ) == ("successful", "ignore", "successful")  # fmt: skip
    assert ingestion.actions[0].message
    assert bench.submission.calls == []


async def test_a_refused_package_fails_with_the_sentence_of_submission_and_holds_nobody_up(bench: Bench) -> None:
    bench.put("bad.cwl", b"cwlVersion: v1.2\n")
    bench.put("good.cwl", package("good"))
    ingestion = await bench.send(added_keys=["bad.cwl", "good.cwl"])

    await bench.work()

    ingestion = await bench.read(ingestion)
    assert [(action.state, action.message) for action in ingestion.actions] == [
        ("failed", "The package has no id on line 1."),
        ("successful", None),
    ]
    assert (ingestion.state, ingestion.message) == ("failed", "1 of 2 keys could not be taken in.")


async def test_an_object_that_is_not_there_fails(bench: Bench) -> None:
    ingestion = await bench.send(added_keys=["missing.cwl"])

    await bench.work()

    ingestion = await bench.read(ingestion)
    assert (ingestion.state, ingestion.actions[0].message) == ("failed", "The bucket has no object of this key.")


async def test_an_object_that_is_too_large_fails_without_being_sent(bench: Bench) -> None:
    bench.put("large.cwl", package("large") + b"#" * LARGEST_PACKAGE)
    ingestion = await bench.send(added_keys=["large.cwl"])

    await bench.work()

    assert (await bench.read(ingestion)).state == "failed"
    assert bench.submission.calls == []


async def test_an_object_that_ingestion_may_not_read_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.put("closed.cwl", package("closed"))
    path = bench.folder / "harvest" / "closed.cwl"
    path.chmod(0)
    # Root may read everything, so the answer of the system to anybody else stands in for it.
    monkeypatch.setattr(os, "access", lambda asked, mode: asked != path)
    ingestion = await bench.send(added_keys=["closed.cwl"])

    await bench.work()

    ingestion = await bench.read(ingestion)
    assert ingestion.actions[0].message is not None
    assert ("failed", True) == (
        ingestion.state, ingestion.actions[0].message.startswith("Ingestion may not read the object"),
    )  # fmt: skip
    assert [] == bench.submission.calls


async def test_a_link_out_of_the_bucket_is_no_object(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "secret.cwl").write_bytes(package("secret"))
    bench.put("here.cwl", package("here"))
    os.symlink(tmp_path / "secret.cwl", bench.folder / "harvest" / "link.cwl")
    os.symlink(tmp_path, bench.folder / "harvest" / "folder")
    ingestion = await bench.send(added_keys=["link.cwl", "folder/secret.cwl"])

    await bench.work()

    assert [action.state for action in (await bench.read(ingestion)).actions] == ["failed", "failed"]
    assert bench.submission.calls == []


async def test_while_submission_is_away_the_action_waits_and_says_why(
    pool: Database, packages: Packages, client: SubmissionClient, address: str, folder: Path
) -> None:
    harvester = Harvester(ActionStore(pool), packages, client, lease=LEASE, give_up_after=GIVE_UP_AFTER)
    async with serve_submission(address) as gone:
        bench = Bench(pool, folder, gone, harvester)
    bench.put("ndvi.cwl", package("ndvi"))
    ingestion = await bench.send(added_keys=["ndvi.cwl"])

    assert await harvester.step()
    assert not await harvester.step()
    waiting = await bench.read(ingestion)
    async with serve_submission(address) as submission:
        for _ in range(20):
            # The channel leaves itself a moment before it connects again.
            await bench.let_all_be_due()
            await bench.work()
            if submission.processes:
                break
            await asyncio.sleep(0.1)

        assert (waiting.state, waiting.actions[0].state) == ("accepted", "pending")
        assert waiting.message == "ndvi.cwl waits: Submission cannot be reached."
        assert (await bench.read(ingestion)).state == "successful"
        assert list(submission.processes) == ["workspaces/ada/processes/ndvi"]


async def test_while_the_store_is_away_the_action_waits(bench: Bench) -> None:
    bench.put("ndvi.cwl", package("ndvi"))
    ingestion = await bench.send(added_keys=["ndvi.cwl"])
    away = bench.folder.rename(bench.folder.with_name("away"))
    await bench.work()
    waiting = await bench.read(ingestion)

    away.rename(bench.folder)
    await bench.let_all_be_due()
    await bench.work()

    assert (
        waiting.state, waiting.message,
    ) == ("accepted", "ndvi.cwl waits: The store of harvested packages cannot be reached.")  # fmt: skip
    assert (await bench.read(ingestion)).state == "successful"


@pytest.mark.parametrize(
    "fault",
    [
        Unavailable(ERROR_REASON_DATABASE_UNAVAILABLE, "The database cannot be reached."),
        Unauthenticated(ERROR_REASON_TOKEN_EXPIRED, "The token has expired."),
        RuntimeError("a fault of submission"),
    ],
)
async def test_what_may_pass_is_tried_again(bench: Bench, fault: Exception) -> None:
    bench.put("ndvi.cwl", package("ndvi"))
    # The channel itself tries a call three times while it is answered with UNAVAILABLE.
    bench.submission.faults += [fault] * 3
    ingestion = await bench.send(added_keys=["ndvi.cwl"])

    await bench.work()
    waiting = await bench.read(ingestion)
    bench.submission.faults.clear()
    await bench.let_all_be_due()
    await bench.work()

    assert waiting.actions[0].state == "pending"
    assert ((await bench.read(ingestion)).state, (await bench.read(ingestion)).actions[0].attempts) == ("successful", 2)


async def test_an_expired_token_is_read_again_from_its_file(
    bench: Bench, pool: Database, packages: Packages, address: str, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    bench.put("ndvi.cwl", package("ndvi"))
    ingestion = await bench.send(added_keys=["ndvi.cwl"])
    async with SubmissionClient.open(address, TokenFile(file), deadline=timedelta(seconds=5)) as client:
        harvester = Harvester(bench.actions, packages, client, lease=LEASE, give_up_after=GIVE_UP_AFTER)
        await harvester.step()
        waiting = await bench.read(ingestion)

        for token in ("first", "second"):
            file.write_text(f"{token}\n")
            bench.submission.faults.append(Unauthenticated(ERROR_REASON_TOKEN_EXPIRED, "The token has expired."))
            await bench.let_all_be_due()
            await harvester.step()

    assert waiting.message == "ndvi.cwl waits: The token of ingestion cannot be read."
    assert [call["authorization"] for call in bench.submission.metadata] == ["Bearer first", "Bearer second"]


async def test_an_action_that_never_succeeds_is_given_up(bench: Bench, pool: Database) -> None:
    ingestion = await bench.send(added_keys=["ndvi.cwl"])
    bench.folder.rename(bench.folder.with_name("away"))
    for _ in range(LEAST_ATTEMPTS):
        await bench.let_all_be_due()
        await bench.work()
    waiting = await bench.read(ingestion)

    await bench.let_time_pass(GIVE_UP_AFTER)
    await bench.let_all_be_due()
    await bench.work()

    assert waiting.state == "accepted"
    ingestion = await bench.read(ingestion)
    assert ingestion.state == "failed"
    assert (
        f"Given up after {LEAST_ATTEMPTS + 1} attempts: The store of harvested packages cannot be reached."
        == ingestion.actions[0].message
    )


class DiesBeforeRecording(ActionStore):
    """Dies as a process would that is killed when submission has answered."""

    async def record_deployed(self, *arguments: Any) -> None:
        raise SystemExit

    async def record_undeployed(self, *arguments: Any) -> None:
        raise SystemExit


async def test_a_step_that_died_before_recording_is_repeated_without_a_trace(
    bench: Bench, pool: Database, packages: Packages, client: SubmissionClient
) -> None:
    dying = Harvester(DiesBeforeRecording(pool), packages, client, lease=LEASE, give_up_after=GIVE_UP_AFTER)
    bench.put("tool.cwl", package("old"))
    await bench.send(id="1", added_keys=["tool.cwl"])
    await bench.work()
    bench.put("tool.cwl", package("new"))
    changed = await bench.send(id="2", updated_keys=["tool.cwl"])
    deleted = await bench.send(id="3", deleted_keys=["tool.cwl"])

    for ingestion in (changed, deleted):
        with pytest.raises(SystemExit):
            await dying.step()
        assert not await bench.harvester.step()
        await bench.let_all_be_due()
        assert await bench.harvester.step()
        assert (await bench.read(ingestion)).state == "successful"

    assert (await bench.read(changed)).actions[0].revision == 1
    assert bench.submission.processes == {}
    assert await bench.harvested() == {}


async def test_a_harvester_whose_lease_is_over_changes_nothing(bench: Bench) -> None:
    bench.put("ndvi.cwl", package("ndvi"))
    ingestion = await bench.send(added_keys=["ndvi.cwl"])
    overtaken = await bench.actions.claim_due(lease=LEASE)
    assert overtaken is not None
    await bench.let_all_be_due()
    await bench.work()
    done = await bench.read(ingestion)

    await bench.actions.record_deployed(overtaken, "other", 7, "sha256:0")
    await bench.actions.record_refused(overtaken, "No.")
    await bench.actions.record_undeployed(overtaken, "ndvi")
    await bench.actions.record_ignored(overtaken, "No.")
    await bench.actions.postpone(overtaken, "Later.", pause=timedelta(0))

    assert done == await bench.read(ingestion)
    assert await bench.harvested() == {"ndvi.cwl": "ndvi"}


async def test_an_action_is_handed_to_one_of_many_claimants(bench: Bench) -> None:
    await bench.send(added_keys=["ndvi.cwl"])

    claims = await asyncio.gather(*(bench.actions.claim_due(lease=LEASE) for _ in range(8)))

    assert len([claim for claim in claims if claim]) == 1


async def test_actions_are_handed_out_in_the_order_in_which_they_came(bench: Bench) -> None:
    await bench.send(id="1", added_keys=["a.cwl", "b.cwl"], deleted_keys=["c.cwl"])
    await bench.send(id="2", added_keys=["b.cwl", "d.cwl"])
    seen = []

    while claim := await bench.actions.claim_due(lease=LEASE):
        assert await bench.actions.claim_due(lease=LEASE) is None
        seen.append((claim.key, claim.verb))
        await bench.actions.record_ignored(claim, "Seen.")

    assert seen == [
        ("a.cwl", "deploy"), ("b.cwl", "deploy"), ("c.cwl", "undeploy"), ("b.cwl", "deploy"), ("d.cwl", "deploy"),
    ]  # fmt: skip


async def test_a_key_that_keeps_failing_holds_up_itself_alone(bench: Bench) -> None:
    await bench.send(id="1", added_keys=["stuck.cwl", "free.cwl"])
    await bench.send(id="2", updated_keys=["stuck.cwl", "later.cwl"])
    for _ in range(HOLDING_UP - 1):
        claim = await bench.actions.claim_due(lease=LEASE)
        assert claim is not None
        assert await bench.actions.claim_due(lease=LEASE) is None
        await bench.actions.postpone(claim, "Later.", pause=timedelta(0))
    stuck = await bench.actions.claim_due(lease=LEASE)
    assert stuck is not None

    seen = []
    while claim := await bench.actions.claim_due(lease=LEASE):
        seen.append(claim.key)
        await bench.actions.record_ignored(claim, "Seen.")
    await bench.actions.record_ignored(stuck, "Seen.")
    last = await bench.actions.claim_due(lease=LEASE)

    assert seen == ["free.cwl", "later.cwl"]
    assert (stuck.key, last and last.key) == ("stuck.cwl", "stuck.cwl")


async def test_a_workspace_does_not_wait_for_another(bench: Bench) -> None:
    await bench.send("ada", added_keys=[f"{number}.cwl" for number in range(50)])
    await bench.send("bob", added_keys=["1.cwl"])

    claims = [await bench.actions.claim_due(lease=LEASE) for _ in range(3)]

    assert sorted(claim.workspace for claim in claims if claim) == ["ada", "bob"]


async def test_messages_sent_ten_times_in_any_order_take_effect_once(bench: Bench) -> None:
    for number in range(8):
        bench.put(f"{number}.cwl", package(f"tool-{number}"))
    messages: list[dict[str, Any]] = [{"id": str(number), "added_keys": [f"{number}.cwl"]} for number in range(8)] * 10
    random.Random(7).shuffle(messages)

    for message in messages:
        await bench.send(**message)
        if random.Random(str(message)).random() < 0.3:
            await bench.harvester.step()
    await bench.work()

    assert [("deploy", f"tool-{number}") for number in range(8)] == sorted(bench.submission.calls)


async def test_a_bucket_that_is_withdrawn_is_not_read_any_more(
    bench: Bench, client: SubmissionClient, folder: Path
) -> None:
    bench.put("ndvi.cwl", package("ndvi"))
    ingestion = await bench.send("bob", added_keys=["ndvi.cwl"])
    packages = Packages(PackageSettings(url=folder.as_uri(), buckets={"harvest": ("ada",)}))
    harvester = Harvester(bench.actions, packages, client, lease=LEASE, give_up_after=GIVE_UP_AFTER)

    await harvester.step()

    ingestion = await bench.read(ingestion)
    assert ("failed", packages.refusal("bob", "harvest")) == (ingestion.state, ingestion.actions[0].message)


async def test_a_long_sentence_is_cut(bench: Bench) -> None:
    bench.put("ndvi.cwl", package("ndvi"))
    bench.submission.faults.append(InvalidArgument(ERROR_REASON_INVALID_PACKAGE, "x" * 5000))
    ingestion = await bench.send(added_keys=["ndvi.cwl"])

    await bench.work()

    assert len((await bench.read(ingestion)).actions[0].message or "") == 1000
