"""The configuration as a text: what Envoy thinks of it, and what may not be rendered."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from services.edge import envoy_binary, render
from services.edge.messages import Address
from tests.edge.running import DESCRIPTOR, Edge

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "deploy" / "envoy" / "envoy.yaml"


def rendered(descriptor: Path = DESCRIPTOR, admin: Address = "127.0.0.1:9901", **changes: object) -> str:
    return render(
        host="::1",
        port=8080,
        submission="[::1]:50051",
        status="status.example:50052",
        ingestion=Path("/run/ingestion.sock"),
        descriptor=descriptor,
        admin=admin,
        **changes,  # type: ignore[arg-type]
    )


def validate(text: str, directory: Path) -> str:
    (directory / "envoy.yaml").write_text(text)
    done = subprocess.run(
        [str(envoy_binary()), "--mode", "validate", "--config-path", str(directory / "envoy.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr if done.returncode else ""


def test_envoy_takes_both_renderings(tmp_path: Path) -> None:
    committed = COMMITTED.read_text().replace("/etc/envoy/workflow_runner.binpb", str(DESCRIPTOR))

    for text in (
        committed,
        rendered(),
        rendered(admin=tmp_path / "admin", access_log=tmp_path / "log", trusted_proxies=1),
    ):
        assert validate(text, tmp_path) == ""


def test_envoy_wants_the_descriptors(tmp_path: Path) -> None:
    assert "nothing.binpb" in validate(rendered(descriptor=tmp_path / "nothing.binpb"), tmp_path)


def test_the_committed_rendering_is_fresh() -> None:
    made = subprocess.run([sys.executable, "-m", "services.edge"], capture_output=True, text=True, check=True, cwd=ROOT)

    assert made.stdout == COMMITTED.read_text()


def test_the_admin_socket_is_for_its_owner_alone(running: Edge) -> None:
    assert stat.S_IMODE(running.admin.stat().st_mode) == 0o600


@pytest.mark.parametrize("admin", ["0.0.0.0:9901", ":9901", "[::]:9901", "10.0.0.1:9901", "envoy.example:9901"])
def test_the_admin_interface_is_for_this_machine_alone(admin: str) -> None:
    with pytest.raises(ValueError, match="admin interface"):
        rendered(admin=admin)


def test_callers_do_not_choose_the_host_of_links_unless_a_proxy_of_ours_does() -> None:
    removed = '"remove": "x-forwarded-prefix"'

    assert removed in rendered()
    assert removed not in rendered(trusted_proxies=1)


def test_every_cluster_asks_for_health_even_without_traffic() -> None:
    for cluster in json.loads(rendered())["static_resources"]["clusters"]:
        (check,) = cluster["health_checks"]
        assert check["interval"] == check["no_traffic_interval"] == check["no_traffic_healthy_interval"] == "0.5s"
        (thresholds,) = cluster["circuit_breakers"]["thresholds"]
        assert thresholds["retry_budget"]["min_retry_concurrency"] >= 32
        assert cluster["common_lb_config"] == {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"}


def test_the_binary_is_there() -> None:
    assert os.access(envoy_binary(), os.X_OK)
