"""`python -m services.access.policy test [DIRECTORY] [--data FILE]`: tests the policy on a machine without OPA."""

import argparse
import sys
from pathlib import Path

from services.access.policy.files import PolicyDataError, policy_directory
from services.access.policy.rego_tests import run_rego_tests


def main(arguments: list[str] | None = None) -> int:
    """Runs the tests and prints how they went; 1 when one failed."""
    parser = argparse.ArgumentParser(prog="python -m services.access.policy", description=__doc__)
    commands = parser.add_subparsers(required=True)
    test = commands.add_parser("test", help="run the policy's own tests")
    test.add_argument("directory", type=Path, nargs="?", default=policy_directory())
    test.add_argument("--data", type=Path, help="policy data to lay over data.json")
    chosen = parser.parse_args(arguments)
    try:
        results = list(run_rego_tests(chosen.directory, chosen.data))
    except PolicyDataError as error:
        print(error, file=sys.stderr)
        return 1
    for result in results:
        if not result.passed:
            print(f"FAIL {result.name}: {result.detail}")
    failed = sum(not result.passed for result in results)
    print(f"{len(results) - failed} of {len(results)} tests passed.")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    raise SystemExit(main())
