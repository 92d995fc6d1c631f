"""Finds the policy's files and joins its data with the operator's own."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

DATA_ROOT = "workflow_runner_config"
"""Data has a root of its own: below the package of the policy OPA would take it for recursive."""

PACKAGED = Path(__file__).parent / "rego"
CHECKED_OUT = Path(__file__).parents[3] / "deploy" / "opa"

Role = Annotated[str, Field(min_length=1)]


class PolicyDataError(Exception):
    """The policy or its data cannot be used. The message is for the person who wrote the setting."""


class Operator(BaseModel):
    """What the operator role is called in the token, and what it may do."""

    model_config = ConfigDict(extra="forbid")

    realm_role: str
    actions: dict[str, bool]


class PolicyData(BaseModel):
    """The shape of `data.workflow_runner_config`; `deploy/opa/README.md` says what each member means."""

    model_config = ConfigDict(extra="forbid", strict=True)

    roles: dict[Role, Annotated[int, Field(ge=1)]]
    actions: dict[str, Role]
    member_role: Role
    group_roles: dict[str, Role]
    anonymous: dict[str, Role]
    stranger_actions: dict[str, bool]
    operator: Operator
    services: dict[str, dict[str, bool]]

    @model_validator(mode="after")
    def _known_names(self) -> "PolicyData":
        for required in ("viewer", "owner"):
            if required not in self.roles:
                raise ValueError(f"roles has no {required!r}")
        named = [*self.actions.values(), self.member_role, *self.group_roles.values(), *self.anonymous.values()]
        for role in named:
            if role not in self.roles:
                raise ValueError(f"there is no role {role!r}; roles has {', '.join(self.roles)}")
        granted = [*self.stranger_actions, *self.operator.actions, *(a for s in self.services.values() for a in s)]
        for action in granted:
            if action not in self.actions:
                raise ValueError(f"there is no action {action!r}")
        return self


def policy_directory() -> Path:
    """Where the policy lies: inside the installed package, or in `deploy/opa` of the checked-out repository."""
    return PACKAGED if PACKAGED.is_dir() else CHECKED_OUT


def read_modules(directory: Path, *, tests: bool = False) -> dict[str, str]:
    """The Rego files by name; with `tests`, also the `_test.rego` files."""
    modules = {
        path.name: path.read_text(encoding="utf-8")
        for path in sorted(directory.glob("*.rego"))
        if tests or not path.name.endswith("_test.rego")
    }
    if not modules:
        raise PolicyDataError(f"There is no policy in {directory}.")
    return modules


def read_data(directory: Path, overlay: Path | None = None) -> dict[str, Any]:
    """The policy's data with the operator's file laid over it. Raises PolicyDataError when the result is not usable."""
    data = _read_object(directory / "data.json")
    if overlay is not None:
        data = _lay_over(data, _read_object(overlay))
    check_data(data, source=overlay or directory / "data.json")
    return data


def check_data(data: Mapping[str, Any], *, source: Path) -> None:
    """Raises PolicyDataError unless `data` has the documented shape."""
    try:
        PolicyData.model_validate(data.get(DATA_ROOT))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in (DATA_ROOT, *first["loc"]))
        raise PolicyDataError(f"Policy data {source}: {where}: {first['msg']}.") from error


def _read_object(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise PolicyDataError(f"Policy data {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise PolicyDataError(f"Policy data {path} is not JSON: {error}.") from error
    if not isinstance(document, dict):
        raise PolicyDataError(f"Policy data {path} is not an object.")
    return document


def _lay_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    joined = dict(below)
    for key, value in above.items():
        old = joined.get(key)
        joined[key] = _lay_over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return joined
