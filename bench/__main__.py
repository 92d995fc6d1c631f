"""Runs the benchmarks: `python -m bench`, or `make bench`."""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from bench import report
from bench.engine import measure_engine
from bench.machine import describe
from bench.million import measure_pages
from bench.programs import BenchmarkFailed
from bench.requests import measure_requests
from bench.starts import first_job, measure_starts
from services.standalone.refusals import CannotStart

PARTS = ("starts", "engine", "requests", "pages")
MOST_STARTS = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the command line says; gives the exit code."""
    chosen = _parser().parse_args(arguments)
    try:
        document = asyncio.run(run(chosen.only or PARTS, rounds=chosen.rounds, seconds=chosen.seconds))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("bench: stopped; nothing that it started is left.", file=sys.stderr)
        return 130
    except (BenchmarkFailed, CannotStart) as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(document, indent=2, default=_plain) + "\n")
    return 0


async def run(parts: Sequence[str], *, rounds: int, seconds: float) -> dict[str, Any]:
    """Measures the parts and prints each as soon as it is there; gives all figures."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="wr-bench-", ignore_cleanup_errors=True) as place:
        directory = Path(place)
        machine = describe(directory)
        document: dict[str, Any] = {"machine": machine, "rounds": rounds, "seconds": seconds}
        print(report.machine_text(machine), end="\n\n", flush=True)
        if "starts" in parts:
            starts = await measure_starts(directory, rounds=min(rounds, MOST_STARTS))
            document["starts"] = asdict(starts)
            print(report.starts_text(starts), end="\n\n", flush=True)
        if "pages" in parts:
            pages = await measure_pages(directory, rounds=rounds)
            document["pages"] = asdict(pages)
            print(report.pages_text(pages), end="\n\n", flush=True)
        if "engine" in parts or "requests" in parts:
            async with first_job(directory / "suite", []) as suite:
                if "engine" in parts:
                    engine = await measure_engine(suite, directory, rounds=rounds)
                    document["engine"] = {"rows": report.engine_rows(engine), "rounds": engine}
                    print(report.engine_text(engine), end="\n\n", flush=True)
                if "requests" in parts:
                    measurements = await measure_requests(suite, directory, rounds=rounds, seconds=seconds)
                    document["requests"] = {"rows": report.requests_rows(measurements)}
                    print(report.requests_text(measurements), end="\n\n", flush=True)
    print(f"{rounds} rounds in {time.monotonic() - began:.0f} s.")
    return document


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measures the suite on this machine, as ratios to something plain in the same run.",
    )
    parser.add_argument(
        "--rounds", type=_at_least_one, default=5, help="how often each variant has its turn (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=_seconds, default=0.6, help="how long a turn of requests takes (default: %(default)s)"
    )
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part only; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to a file as well")
    return parser


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError("a whole number from 1 to 100 is wanted")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.05 <= seconds <= 60:
        raise argparse.ArgumentTypeError("a number from 0.05 to 60 is wanted")
    return seconds


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{value!r} has no JSON")


if __name__ == "__main__":
    sys.exit(main())
