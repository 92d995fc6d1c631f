"""JavaScript expressions of a package, evaluated by QuickJS inside this process: no Node, no files, no network."""

import json
import math
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
        try:
            with self._watchdog.watching(SECONDS + PATIENCE_SECONDS, self._whose()):
                value = context.eval(code_fragment_to_js(scan, jslib))
            if isinstance(value, quickjs.Object):
                text = value.json()
                value = None if text is None else json.loads(text)
        except (quickjs.JSException, quickjs.StackOverflow) as error:
            raise JavascriptException(str(error).strip() or "the expression failed") from error
        except (ValueError, RecursionError) as error:
            raise JavascriptException("the value of the expression cannot be written as JSON") from error
        if isinstance(value, float):
            value = int(value) if value.is_integer() else value if math.isfinite(value) else None
        return cast(CWLOutputType, value)

    def new_js_proc(self, *_: Any, **__: Any) -> NoReturn:
        raise JavascriptException("no JavaScript process is ever started")

    def exec_js_process(self, *_: Any, **__: Any) -> NoReturn:
        raise JavascriptException("no JavaScript process is ever started")
