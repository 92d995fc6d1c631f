"""The policy inside the process: regorus's byte code machine.

A decision takes about a tenth of a millisecond and is made on the event loop itself; handing it to a thread would cost
more. The machine belongs to the thread that made it: a use from another one panics, and so must its end not be left to
the garbage collector, which works on whatever thread it likes.
"""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import orjson
import regorus
import structlog

from services.access.policy.decision import (
    Decision,
    PolicyInput,
    parse_decision,
    refused,
    unavailable,
)
from services.access.policy.files import PolicyDataError

ENTRY_POINT = "data.workflow_runner.authz.decision"

log = structlog.get_logger(__name__)


class EmbeddedEngine:
    """Decides with the Rego modules and data given to it. Waits for nothing."""

    def __init__(self, modules: Mapping[str, str], data: Mapping[str, Any], *, entry_point: str = ENTRY_POINT) -> None:
        """Compiles the policy. Raises PolicyDataError when it cannot be compiled."""
        self._thread = threading.get_ident()
        self._data = orjson.dumps(data).decode()
        try:
            self._program: Any = regorus.Program.compile_from_modules(self._data, list(modules.items()), [entry_point])
        except RuntimeError as error:
            raise PolicyDataError(f"The policy cannot be compiled: {str(error).split('Stack backtrace')[0]}") from error
        self._machine: Any = self._new_machine()

    @classmethod
    @contextmanager
    def open(
        cls, modules: Mapping[str, str], data: Mapping[str, Any], *, entry_point: str = ENTRY_POINT
    ) -> Iterator[Self]:
        """Compiles the policy; the machine ends with the context, on the thread that made it."""
        engine = cls(modules, data, entry_point=entry_point)
        try:
            yield engine
        finally:
            engine._machine = engine._program = None

    async def decide(self, query: PolicyInput) -> Decision:
        """Answers, or raises Unavailable when the machine fails."""
        try:
            document = query.to_json()
        except TypeError:
            return refused("invalid_input")
        try:
            return parse_decision(query, orjson.loads(self.evaluate(document)))
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 - a panic of the machine is no Exception, and must deny
            log.error("The embedded policy engine gave no answer.", error=repr(error)[:500])
            raise unavailable("embedded") from None

    def evaluate(self, document: bytes) -> str:
        """The policy's answer to an input document, as JSON. May raise anything, PanicException included."""
        if threading.get_ident() != self._thread:
            raise RuntimeError("the policy engine was called from another thread than its own")
        try:
            self._machine.set_input_json(document.decode())
            return str(self._machine.execute())
        except BaseException:
            # What a failed evaluation leaves in the machine is not defined.
            self._machine = self._new_machine()
            raise

    def _new_machine(self) -> Any:
        machine = regorus.Rvm()
        machine.load_program(self._program)
        machine.set_data_json(self._data)
        return machine
