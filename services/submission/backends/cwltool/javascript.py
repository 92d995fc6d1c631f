"""JavaScript expressions of a package, evaluated by QuickJS inside this process: no Node, no files, no network."""

import json
import math
from typing import Any, NoReturn, cast

import quickjs
from cwl_utils.errors import JavascriptException
from cwl_utils.sandboxjs import NodeJSEngine, code_fragment_to_js
from cwl_utils.types import CWLOutputType

MEMORY_BYTES = 128 << 20
STACK_BYTES = 512 << 10
SECONDS = 10.0


class QuickJs(NodeJSEngine):
    """Evaluates each expression in a context of its own; parameter references are those of cwl-utils."""

    def eval(self, scan: str, jslib: str = "", timeout: float = SECONDS, **_: Any) -> CWLOutputType:  # type: ignore[override]
        context = quickjs.Context()
        context.set_memory_limit(MEMORY_BYTES)
        context.set_time_limit(min(timeout, SECONDS))
        context.set_max_stack_size(STACK_BYTES)
        try:
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
