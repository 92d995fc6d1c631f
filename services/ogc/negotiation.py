"""Which representation a caller wants, in the words of HTTP."""

from collections.abc import Sequence

from services.shared.errors import InvalidArgument
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_NOT_ACCEPTABLE

JSON = "application/json"


def not_acceptable(accept: str, *available: str) -> InvalidArgument:
    """The refusal for a caller who takes none of what there is."""
    return InvalidArgument(
        ERROR_REASON_NOT_ACCEPTABLE,
        "There is nothing here as {accept}. There is: {available}.",
        http_status=406,
        accept=accept[:200],
        available=", ".join(dict.fromkeys(media_type.partition(";")[0] for media_type in available)),
    )


def quality(accept: str, media_type: str) -> float:
    """How much an `Accept` header wants a media type (RFC 9110, 12.5.1): 0 is not at all. None wants everything."""
    if not accept.strip():
        return 1.0
    plain = media_type.partition(";")[0].strip().lower()
    wanted = {plain: 3, f"{plain.partition('/')[0]}/*": 2, "*/*": 1}
    best, found = 0, 0.0
    for part in accept.split(","):
        named, *parameters = (piece.strip().lower() for piece in part.split(";"))
        fit = wanted.get(named, 0)
        if fit > best:
            best, found = fit, _weight(parameters)
    return found


def _weight(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return max(0.0, min(float(value), 1.0))
            except ValueError:
                return 0.0
    return 1.0
