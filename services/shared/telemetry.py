"""Traces, metrics and logs, under OpenTelemetry's names.

Traces and metrics leave over OTLP when the settings say so; where to, `OTEL_EXPORTER_OTLP_ENDPOINT` says. Logs are
JSON, one event per line, on standard error.
"""

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from opentelemetry import metrics, propagate, trace

tracer = trace.get_tracer("workflow_runner")
meter = metrics.get_meter("workflow_runner")

jobs_ended = meter.create_counter("workflow_runner.jobs.ended", unit="{job}", description="Jobs that ended, by state.")
jobs_accepted = meter.create_counter("workflow_runner.jobs.accepted", unit="{job}", description="Jobs accepted.")
job_wait = meter.create_histogram(
    "workflow_runner.job.wait", unit="s", description="From the acceptance of a job to its launch."
)
job_duration = meter.create_histogram(
    "workflow_runner.job.duration", unit="s", description="From the launch of a job to its end."
)


@asynccontextmanager
async def open_telemetry(service: str, *, export: bool, log_level: str) -> AsyncIterator[None]:
    """Sets up logs, and the export of traces and metrics when asked; flushes them at the end."""
    configure_logs(service, log_level)
    if not export:
        yield
        return
    # The exporters take a fifth of a second to import, which a service without a collector need not pay.
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": f"workflow-runner-{service}"})
    traces = TracerProvider(resource=resource)
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(traces)
    measures = MeterProvider(resource=resource, metric_readers=[PeriodicExportingMetricReader(OTLPMetricExporter())])
    metrics.set_meter_provider(measures)
    try:
        yield
    finally:
        traces.shutdown()
        measures.shutdown()


def configure_logs(service: str, level: str) -> None:
    """Sends the logs of our code and of the libraries through one formatter."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.EventRenamer("message"),
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # gRPC logs every refused call that it sees; ours are counted and logged where they are made.
    logging.getLogger("grpc").setLevel(logging.ERROR)
    structlog.contextvars.bind_contextvars(service=service)


def trace_id() -> str | None:
    """The id of the trace under way, as W3C spells it; None outside of one."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None


def trace_parent() -> str | None:
    """The trace context to keep with a job; None outside of a trace."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier.get("traceparent")


def link_to(parent: str | None) -> list[trace.Link]:
    """Links a span to the call that a kept trace context came from. A job may live for hours, a span should not."""
    if parent is None:
        return []
    context = trace.get_current_span(propagate.extract({"traceparent": parent})).get_span_context()
    return [trace.Link(context)] if context.is_valid else []


def _add_trace(logger: object, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if identifier := trace_id():
        event["trace_id"] = identifier
    return event
