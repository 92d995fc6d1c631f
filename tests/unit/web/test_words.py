"""What pages say in words."""

from datetime import UTC, datetime, timedelta

import pytest

from services.web.words import age, duration, full, log_text, size

NOW = datetime(2026, 11, 23, 7, 29, 14, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "just now"),
        (9, "just now"),
        (10, "10 s ago"),
        (60, "1 min ago"),
        (3599, "59 min ago"),
        (3600, "1 h ago"),
        (86399, "23 h ago"),
        (86400, "1 day ago"),
        (86400 * 400, "400 days ago"),
    ],
)
def test_an_age_has_one_unit(seconds: int, words: str) -> None:
    assert words == age(NOW - timedelta(seconds=seconds), NOW)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0.0 s"),
        (0.44, "0.4 s"),
        (10, "10 s"),
        (61, "1 min 1 s"),
        (3661, "1 h 1 min"),
        (90000, "1 d 1 h"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, words: str) -> None:
    assert words == duration(timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (123_456, "123 kB"),
        (2_500_000, "2.5 MB"),
        (7e15, "7000 TB"),
    ],
)
def test_a_size_is_in_the_unit_that_fits(size_bytes: float, words: str) -> None:
    assert words == size(size_bytes)


def test_a_moment_is_told_to_the_second() -> None:
    assert "23 Nov 2026, 07:29:14 UTC" == full(NOW)


def test_a_log_keeps_its_text_and_loses_what_steers_a_terminal() -> None:
    log = b"\x1b[1;31mred\x1b[0m\r\n\x1b]0;title\x07tab\there\x00\x1b[2K\xc3\xa9\xff"

    assert "red\ntab\there\N{REPLACEMENT CHARACTER}é\N{REPLACEMENT CHARACTER}" == log_text(log)
