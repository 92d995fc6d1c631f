import subprocess

import pytest

from services.access.policy.__main__ import main
from services.access.policy.files import policy_directory
from services.access.policy.rego_tests import run_rego_tests
from tests.policy.opa_server import MISSING, find_opa


@pytest.mark.parametrize(
    "result", list(run_rego_tests(policy_directory())), ids=lambda result: result.name.split(".")[-1]
)
def test_the_rego_test_passes_in_the_embedded_engine(result):
    assert result.passed, result.detail


@pytest.mark.skipif(not find_opa(), reason=MISSING)
def test_the_rego_tests_pass_in_opa():
    run = subprocess.run([find_opa(), "test", str(policy_directory())], capture_output=True, text=True, timeout=60)

    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.skipif(not find_opa(), reason=MISSING)
def test_the_policy_passes_opas_strict_check():
    check = [find_opa(), "check", "--strict", str(policy_directory())]
    run = subprocess.run(check, capture_output=True, text=True, timeout=60)

    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ("false", "it is not true"),
        ("1 / input.nothing == 1", "it is not true"),
        ("every n in [1, 2] { d := data.p.half with input as n; d == 1 }", "it is not true"),
    ],
)
def test_a_rego_test_that_fails_is_told(tmp_path, capsys, body, detail):
    (tmp_path / "data.json").write_text((policy_directory() / "data.json").read_text())
    (tmp_path / "p.rego").write_text("package p\nimport rego.v1\nhalf := input\n")
    (tmp_path / "p_test.rego").write_text(f"package p_test\nimport rego.v1\ntest_it if {{ {body} }}\n")

    code = main(["test", str(tmp_path)])

    assert (1, f"FAIL data.p_test.test_it: {detail}") == (code, capsys.readouterr().out.splitlines()[0])
