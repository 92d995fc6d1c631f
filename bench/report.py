"""Puts figures into tables for people, and into one document for programs."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from bench.engine import BARE
from bench.figures import Spread, percentile
from bench.million import FAR, PAGE, Pages
from bench.requests import CALLERS, ECHO, PARTS, Measurement
from bench.starts import Starts


def machine_text(machine: Mapping[str, Any]) -> str:
    return (
        f"{machine['processors']} processors, Python {machine['python']}, load average {machine['load']}, "
        f"one fdatasync takes {machine['fdatasync_ms']} ms.\n"
        "x: median of the ratios of each round, with their range. Load generator, servers and database share all of it."
    )


def pages_text(pages: Pages) -> str:
    """One line: the far page against the first."""
    return (
        f"List of {pages.jobs:,} jobs, {PAGE} on a page: first page {pages.first_ms:.1f} ms, page {FAR:,} "
        f"{pages.far_ms:.1f} ms, x {_spread(pages.ratio)}"
    )


def requests_text(measurements: Sequence[Measurement]) -> str:
    """One table for each number of callers."""
    tables = []
    for callers in CALLERS:
        rows = [row for row in requests_rows(measurements) if row["callers"] == callers]
        lines = [
            f"{'Requests, ' + str(callers) + (' callers' if callers > 1 else ' caller'):<29}"
            f"{'req/s':>7}  {'x plain echo':<18}{'p50 ms':>7}{'p99 ms':>8}  {'x p99 of echo':<19}"
            f"CPU us/req: {'service':>7}{'Envoy':>7}{'PgSQL':>7}{'client':>7}"
        ]
        for row in rows:
            cpu = "".join(f"{_or_dash(row['cpu_us'].get(part)):>7}" for part in PARTS)
            lines.append(
                f"{row['variant']:<29}{row['per_second']:>7.0f}  {_spread(row['rate_ratio']):<18}"
                f"{row['p50_ms']:>7.1f}{row['p99_ms']:>8.1f}  {_spread(row['p99_ratio'], 1):<19}{'':>12}{cpu}"
            )
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def requests_rows(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    """The figures of each variant over all rounds."""
    rounds: dict[tuple[int, str], list[Measurement]] = {}
    for measurement in measurements:
        rounds.setdefault((measurement.callers, measurement.variant), []).append(measurement)
    rows = []
    for (callers, variant), measured in rounds.items():
        plain = rounds[callers, ECHO]
        calls = sum(each.calls for each in measured)
        latencies = [latency for each in measured for latency in each.latencies]
        rows.append(
            {
                "callers": callers,
                "variant": variant,
                "per_second": median(each.per_second for each in measured),
                "rate_ratio": Spread.of_ratios(
                    [each.per_second for each in measured], [each.per_second for each in plain]
                ),
                "p50_ms": percentile(latencies, 50) / 1000,
                "p99_ms": percentile(latencies, 99) / 1000,
                "p99_ratio": Spread.of_ratios([each.p99 for each in measured], [each.p99 for each in plain]),
                "cpu_us": {
                    part: sum(each.cpu[part] for each in measured) / calls * 1e6
                    for part in PARTS
                    if part in measured[0].cpu
                },
                "requests": len(latencies),
                "rounds": [{"per_second": each.per_second, "p99_ms": each.p99 / 1000} for each in measured],
            }
        )
    return rows


def engine_text(seconds: Mapping[str, Sequence[float]]) -> str:
    """A row for each way to run the trivial job."""
    lines = [f"{'One trivial job':<37}{'ms':>7}  {'x bare cwltool':<18}"]
    lines += [
        f"{row['variant']:<37}{row['ms'].median:>7.0f}  {_spread(row['ratio']):<18}" for row in engine_rows(seconds)
    ]
    return "\n".join(lines)


def engine_rows(seconds: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    return [
        {
            "variant": variant,
            "ms": Spread.of([1000 * each for each in measured]),
            "ratio": Spread.of_ratios(measured, seconds[BARE]),
        }
        for variant, measured in seconds.items()
    ]


def starts_text(starts: Starts) -> str:
    lines = [f"{'From `up` to the first accepted job':<37}seconds"]
    for name, measured in (("empty directory", starts.empty), ("warm restart", starts.warm)):
        lines.append(f"{name:<37}{_spread(Spread.of(measured), 1)}")
    return "\n".join(lines)


def _spread(spread: Spread, digits: int = 2) -> str:
    return f"{spread.median:.{digits}f} [{spread.low:.{digits}f}-{spread.high:.{digits}f}]"


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
