"""Asks the policy whether a call may go on, and what a list may show.

The policy is the Rego in `deploy/opa`; README.md there describes its input. Two engines decide alike: a real OPA over
its REST API, and an embedded engine for one machine. Without an answer nothing is allowed: an engine that cannot say,
or says something of another shape than asked for, raises `Unavailable`.
"""

from services.access.policy.decision import (
    Decision,
    ListFilter,
    PolicyEngine,
    PolicyInput,
)
from services.access.policy.embedded import EmbeddedEngine
from services.access.policy.opa import OpaEngine
from services.access.policy.settings import Embedded, Opa, PolicySettings, open_policy

__all__ = [
    "Decision",
    "Embedded",
    "EmbeddedEngine",
    "ListFilter",
    "Opa",
    "OpaEngine",
    "PolicyEngine",
    "PolicyInput",
    "PolicySettings",
    "open_policy",
]
