"""The contract and the policy speak of the same actions."""

from google.protobuf.descriptor import MethodDescriptor

from services.access.policy.files import DATA_ROOT, policy_directory, read_data
from tests.policy.questions import ACTIONS
from workflow_runner.v1 import (
    ingestion_service_pb2,
    options_pb2,
    page_service_pb2,
    status_service_pb2,
    submission_service_pb2,
)

METHODS: list[MethodDescriptor] = [
    method
    for module in (submission_service_pb2, status_service_pb2, page_service_pb2, ingestion_service_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


def action_of(method: MethodDescriptor) -> str:
    action: str = method.GetOptions().Extensions[options_pb2.action]  # type: ignore[index]
    return action


def known_actions() -> set[str]:
    return set(read_data(policy_directory())[DATA_ROOT]["actions"])


def test_the_policy_knows_the_action_of_every_rpc():
    actions = {method.full_name: action_of(method) for method in METHODS}

    assert {name: action for name, action in actions.items() if action not in known_actions()} == {}
    assert len(actions) > 10


def test_the_comparison_with_opa_asks_for_every_action():
    assert known_actions() == set(ACTIONS)
