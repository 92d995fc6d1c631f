"""Makes HTML of templates, safely: every value is escaped, and a page runs no script but ours."""

import re
from typing import Any
from urllib.parse import quote, urlsplit

from google.api.httpbody_pb2 import HttpBody
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from services.serving.server import Call
from services.web import assets, words

HTML = "text/html; charset=utf-8"
# Hosts as a Content-Security-Policy can name them, which leaves out literal IPv6 addresses.
HOST = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]+)?")


def _with_code(text: str) -> Markup:
    """What stands between backticks, as comments of the contract have it, as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(Markup("<code>{}</code>").format(part) if at % 2 else part for at, part in enumerate(parts))


class _Missing(StrictUndefined):
    """Nothing for an `if` without an `else`, an error for a name that is not there."""

    def __str__(self) -> str:  # type: ignore[override]
        return "" if self._undefined_hint else super().__str__()


_environment = Environment(
    loader=PackageLoader("services.web"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=_Missing,
)
_environment.filters |= {
    "age": words.age,
    "code": _with_code,
    "duration": words.duration,
    "full": words.full,
    "segment": lambda text: quote(text, safe=""),
    "size": words.size,
}


def render(template: str, call: Call, workspace: str, **values: Any) -> HttpBody:
    """Makes a page for a caller."""
    base = _base(call)
    name = call.subject.claims.get("preferred_username")
    text = _environment.get_template(template).render(
        workspace=workspace,
        root=f"{base}/workspaces/{workspace}",
        base=base,
        static=f"{base}{assets.ROOT}/{assets.checksum()}",
        user="" if call.subject.anonymous else name if isinstance(name, str) else call.subject.id,
        as_json=_as_json(call),
        **values,
    )
    return HttpBody(content_type=HTML, data=text.encode())


def headers(call: Call) -> dict[str, str]:
    """The headers of a page."""
    return {
        "content-security-policy": _policy(call),
        "referrer-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        # A page shows what its reader may see now.
        "cache-control": "private, no-cache",
        "vary": "accept, authorization, cookie",
    }


def _as_json(call: Call) -> str:
    """The query of the same resource as JSON."""
    query = call.rest.query() if call.rest else ""
    kept = [part for part in query.split("&") if part and part.partition("=")[0] != "f"]
    return "?" + "&".join([*kept, "f=json"])


def _base(call: Call) -> str:
    """The path before ours, where a proxy adds one. Links have no host, so that they stay where the reader is."""
    return urlsplit(call.rest.root).path if call.rest else ""


def _policy(call: Call) -> str:
    host = call.rest.headers.get("x-forwarded-host", "") if call.rest else ""
    # Results of jobs come from the same host, and must not become scripts.
    scripts = f"{host}{_base(call)}{assets.ROOT}/" if HOST.fullmatch(host) else "'self'"
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
