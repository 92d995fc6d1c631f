"""Which representation a caller wants."""

import pytest

from services.ogc.negotiation import quality


@pytest.mark.parametrize(
    ("accept", "media_type", "wanted"),
    [
        ("", "image/tiff", 1.0),
        ("*/*", "image/tiff", 1.0),
        ("application/json", "application/json", 1.0),
        ("Application/JSON ; q=0.5", "application/json", 0.5),
        ("application/json", "text/plain; charset=utf-8", 0.0),
        ("text/*;q=0.3, */*;q=0.1", "text/plain; charset=utf-8", 0.3),
        ("text/*;q=0.3, text/plain;q=0", "text/plain", 0.0),
        ("*/*;q=0.8, application/json", "application/json", 1.0),
        ("application/json;q=x", "application/json", 0.0),
        ("application/json;q=7", "application/json", 1.0),
        (",,;", "application/json", 0.0),
        ("multipart/*", 'multipart/related; boundary=b; type="text/plain"', 1.0),
    ],
)
def test_the_most_specific_part_of_the_header_counts(accept: str, media_type: str, wanted: float) -> None:
    assert wanted == quality(accept, media_type)
