"""What a reviewer should not have to say."""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICES = ROOT / "services"
READS_ENVIRONMENT = {
    "serving/settings.py",
    # Programs that the product starts with an environment of its own.
    "standalone",
    "submission/packages/nursery.py",
    "submission/backends/cwltool",
}

FORKS = {
    "submission/backends/cwltool/confinement.py",
    "submission/backends/cwltool/network.py",
    "submission/backends/cwltool/sandbox.py",
    "submission/backends/cwltool/supervisor.py",
    "submission/backends/cwltool/zygote.py",
    "submission/packages/nursery.py",
}


def modules() -> dict[Path, ast.Module]:
    return {path.relative_to(SERVICES): ast.parse(path.read_text()) for path in SERVICES.rglob("*.py")}


def imports(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return found


def test_the_ground_is_stood_on_by_two_rooms() -> None:
    """A module is in shared because rooms that do not know each other need it; otherwise it belongs to one of them."""
    users: dict[str, set[str]] = defaultdict(set)
    for path, tree in modules().items():
        for name in imports(tree):
            if name.startswith("services.shared."):
                users[name.split(".")[2]].add(path.parts[0])
    ground = {path.stem for path in modules() if path.parent == Path("shared")} - {"__init__"}

    assert {} == {name: users[name] for name in ground if len(users[name]) < 2}


def test_the_ground_knows_nothing_above_it() -> None:
    known = {name for path, tree in modules().items() if path.parts[0] == "shared" for name in imports(tree)}

    assert set() == {name for name in known if name.startswith("services.") and not name.startswith("services.shared")}


def test_the_environment_is_read_where_settings_are() -> None:
    readers = {
        str(path)
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv") and _is(node.value, "os")
    }

    assert set() == {path for path in readers if not any(path.startswith(allowed) for allowed in READS_ENVIRONMENT)}


def test_statements_stand_in_stores() -> None:
    """SQL is where a Database is; a service, a dispatcher or a backend has none."""
    statement = re.compile(r"\b(SELECT .* FROM|INSERT INTO|UPDATE \w+ SET|DELETE FROM)\b")
    writers = {
        str(path)
        for path in modules()
        if path.name in ("service.py", "dispatcher.py", "harvester.py", "__main__.py") or "backends" in path.parts
        if statement.search((SERVICES / path).read_text())
    }

    assert set() == writers - {"standalone/__main__.py"}


def test_no_module_is_a_drawer() -> None:
    drawers = {"utils", "util", "helpers", "common", "misc", "core", "base", "manager", "handler", "processor", "impl"}

    assert [] == [str(path) for path in modules() if path.stem in drawers]


def test_files_are_of_a_size_that_can_be_read() -> None:
    lines = {str(path): (SERVICES / path).read_text().count("\n") for path in modules()}

    assert {} == {path: count for path, count in lines.items() if count > 520}


def _is(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def test_only_programs_without_grpc_run_code_of_ours_after_a_fork() -> None:
    """The fork handlers of gRPC abort a child before it becomes what it should, and cut connections of the parent."""
    forks = {
        path.as_posix()
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (
            ast.unparse(node.func) in {"os.fork", "os.forkpty"}
            or (
                {"preexec_fn", "user", "group", "extra_groups"} & {word.arg for word in node.keywords}
                and ast.unparse(node.func).rpartition(".")[2] in {"Popen", "run", "create_subprocess_exec"}
            )
        )
    }

    assert FORKS == forks


@pytest.mark.parametrize("program", ["backends.cwltool.zygote", "backends.cwltool.supervisor", "packages.nursery"])
def test_the_programs_that_fork_load_no_grpc(program: str) -> None:
    code = f"import sys, services.submission.{program}; print('grpc' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)

    assert "False\n" == done.stdout
