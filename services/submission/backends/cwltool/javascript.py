"""JavaScript expressions of a package, evaluated by QuickJS inside this process: no Node, no files, no network."""

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, cast

import quickjs
from cwl_utils.errors import JavascriptException
from cwl_utils.sandboxjs import NodeJSEngine, code_fragment_to_js
from cwl_utils.types import CWLOutputType

MEMORY_BYTES = 128 << 20
STACK_BYTES = 512 << 10
SECONDS = 10.0


PATIENCE_SECONDS = 1.0
"""How long an expression may take to notice that its time is over, which one inside of a regular expression cannot."""


class Watchdog:
    """Calls `overdue`, on a thread of its own, when something that cannot be interrupted outlasts its time."""

    def __init__(self, overdue: Callable[[str | None], object]) -> None:
        """`overdue` is told on whose behalf it was; it has to end the process, since nothing else ends the work."""
        self._overdue = overdue
        self._lock = threading.Lock()
        self._under_way: dict[int, tuple[float, str | None]] = {}
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, seconds: float, whose: str | None) -> Iterator[None]:
        """Watches what is done in the context, on this thread."""
        key = threading.get_ident()
        with self._lock:
            self._under_way[key] = time.monotonic() + seconds, whose
            if self._thread is None:
                # Not before it is needed: the process may have been forked since this was made.
                self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._under_way[key]

    def _run(self) -> None:
        while True:
            time.sleep(0.25)
            with self._lock:
                late = [whose for deadline, whose in self._under_way.values() if deadline < time.monotonic()]
            if late:
                self._overdue(late[0])
                return


_EVALUATE = """
(function (code, token) {
    var write = JSON.stringify, text = String, finite = isFinite;
    return write((0, eval)(code), function (name, value) {
        var special = (typeof value === "number" && !finite(value)) || typeof value === "bigint";
        return special ? token + text(value) : value;
    });
})
"""
"""Evaluates code and writes its value as JSON, as JavaScript itself does; but NaN, infinities and large integers, which
JSON has no numbers for, are kept behind a token and not made null."""


def _integer(digits: str) -> int:
    # A number of JavaScript is a double. From 2**53 on JSON writes it with other digits than it has.
    return int(digits) if len(digits) < 16 else int(float(digits))


def _restored(value: Any, token: str) -> Any:
    """Puts numbers back that stand behind a token."""
    if isinstance(value, str) and value.startswith(token):
        number = value.removeprefix(token)
        return float(number) if number in ("NaN", "Infinity", "-Infinity") else int(number)
    if isinstance(value, list):
        return [_restored(item, token) for item in value]
    if isinstance(value, dict):
        return {name: _restored(item, token) for name, item in value.items()}
    return value


class QuickJs(NodeJSEngine):
    """Evaluates each expression in a context of its own; parameter references are those of cwl-utils."""

    def __init__(self, watchdog: Watchdog, whose: Callable[[], str | None]) -> None:
        """`whose` names the step that the calling thread works for."""
        super().__init__()
        self._watchdog = watchdog
        self._whose = whose

    def eval(self, scan: str, jslib: str = "", timeout: float = SECONDS, **_: Any) -> CWLOutputType:  # type: ignore[override]
        context = quickjs.Context()
        context.set_memory_limit(MEMORY_BYTES)
        context.set_time_limit(min(timeout, SECONDS))
        context.set_max_stack_size(STACK_BYTES)
        # What stands for a number that JSON cannot say; the expression cannot know it.
        token = secrets.token_hex(8)
        try:
            with self._watchdog.watching(SECONDS + PATIENCE_SECONDS, self._whose()):
                text = context.eval(_EVALUATE)(code_fragment_to_js(scan, jslib), token)
            value = None if text is None else json.loads(text, parse_int=_integer)
        except (quickjs.JSException, quickjs.StackOverflow) as error:
            raise JavascriptException(str(error).strip() or "the expression failed") from error
        except (ValueError, RecursionError) as error:
            raise JavascriptException("the value of the expression cannot be written as JSON") from error
        return cast(CWLOutputType, _restored(value, token) if text is not None and token in text else value)

    def new_js_proc(self, *_: Any, **__: Any) -> NoReturn:
        raise JavascriptException("no JavaScript process is ever started")

    def exec_js_process(self, *_: Any, **__: Any) -> NoReturn:
        raise JavascriptException("no JavaScript process is ever started")
