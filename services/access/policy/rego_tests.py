"""Runs the policy's own tests, the `test_` rules of its `_test.rego` files, without OPA.

The byte code machine cannot replace input and data for a test, so the other engine of the library runs them: the one
that walks the syntax tree. Both decide alike; `tests/policy` compares them with OPA.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import regorus

from services.access.policy.files import PolicyDataError, read_data, read_modules

PACKAGE = re.compile(r"^package\s+([\w.]+)", re.MULTILINE)
TEST_RULE = re.compile(r"^(test_\w+)", re.MULTILINE)


@dataclass(frozen=True)
class RegoTest:
    """How one test went."""

    name: str
    passed: bool
    detail: str = ""
    """What the engine said, where the test failed."""


def run_rego_tests(directory: Path, data: Path | None = None) -> Iterator[RegoTest]:
    """Runs every test of the policy in `directory`. Raises PolicyDataError when it cannot be read."""
    engine = regorus.Engine()
    engine.add_data_json(json.dumps(read_data(directory, data)))
    modules = read_modules(directory, tests=True)
    try:
        for name, module in modules.items():
            engine.add_policy(name, module)
    except RuntimeError as error:
        raise PolicyDataError(f"The policy cannot be read: {_first_part(error)}") from error
    for path in (path for module in modules.values() for path in _test_rules(module)):
        try:
            passed = json.loads(engine.eval_rule_as_json(path)) is True
            yield RegoTest(path, passed=passed, detail="" if passed else "it is not true")
        except RuntimeError as error:
            yield RegoTest(path, passed=False, detail=_first_part(error))


def _test_rules(module: str) -> list[str]:
    package = PACKAGE.search(module)
    assert package, "a module that the engine has read has a package"
    return [f"data.{package[1]}.{name}" for name in dict.fromkeys(TEST_RULE.findall(module))]


def _first_part(error: Exception) -> str:
    return str(error).split("Stack backtrace")[0].strip()
