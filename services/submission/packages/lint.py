"""Features which a package uses without asking for them.

The CWL library validates such a package and lets its job fail in the middle; the wording here tells at deploy what is
missing and where.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cwl_utils.errors import SubstitutionError
from cwl_utils.expression import scanner
from cwl_utils.sandboxjs import param_re

from services.submission.packages.document import Document, join, offence
from services.submission.packages.refusal import MAX_OFFENCES, Offence, invalid
from services.submission.packages.structure import entries, requirements, short, top_processes

MAX_STEPS = 1000
"""Steps after nested workflows are written out: a short document can name an endless number of them."""

JAVASCRIPT = "InlineJavascriptRequirement"
"""The only feature that a hint does not turn on."""

# Fields whose type in CWL v1.2 names no Expression, so that a `$(` in them is text.
_PLAIN = frozenset(
    [
        "id",
        "label",
        "doc",
        "default",
        "intent",
        "class",
        "type",
        "run",
        "source",
        "steps",
        "in",
        "inputs",
        "outputs",
        "requirements",
        "hints",
        "cwlVersion",
        "baseCommand",
        "prefix",
        "itemSeparator",
        "symbols",
        "name",
        "items",
        "streamable",
        "loadListing",
        "scatter",
        "scatterMethod",
        "outputSource",
        "linkMerge",
        "pickValue",
        "expressionLib",
        "types",
        "envName",
        "packages",
        "dockerPull",
        "dockerLoad",
        "dockerFile",
        "dockerImport",
        "dockerImageId",
        "dockerOutputDirectory",
    ]
)


def check_features(document: Document, process: dict[str, Any], pointer: str) -> None:
    """Refuses a process that uses what it does not require, naming every place and the requirement to add."""
    lint = _Lint(document)
    try:
        for place, message in lint.process(process, pointer, _Features(), ()):
            lint.found.append(offence(document, place, message))
            if len(lint.found) >= MAX_OFFENCES:
                break
    except _TooManySteps:
        raise invalid(
            "The package has more than {limit} steps when its nested workflows are written out.", limit=MAX_STEPS
        ) from None
    if lint.found:
        raise invalid(
            "The package would fail at {pointer}: {problem}",
            lint.found,
            pointer=lint.found[0].pointer or "/",
            problem=lint.found[0].message,
        )


class _TooManySteps(Exception):
    pass


@dataclass(frozen=True)
class _Features:
    """What a process may use: what it and those above it require, and what they merely hint at."""

    required: frozenset[str] = frozenset()
    hinted: frozenset[str] = frozenset()

    def of(self, holder: dict[str, Any]) -> "_Features":
        """Adds what a process or a step asks for itself."""
        required = self.required | {name for _, name, _ in requirements(holder, "", "requirements")}
        return _Features(required, self.hinted | {name for _, name, _ in requirements(holder, "", "hints")})

    def __contains__(self, feature: str) -> bool:
        return feature in self.required or feature in self.hinted


class _Lint:
    def __init__(self, document: Document) -> None:
        self.found: list[Offence] = []
        self._version = document.value.get("cwlVersion")
        self._named = {
            short(process.get("id", "")): (process, pointer) for pointer, process in top_processes(document.value)
        }
        self._steps = 0

    def process(
        self, process: dict[str, Any], pointer: str, inherited: _Features, above: tuple[str, ...]
    ) -> Iterator[tuple[str, str]]:
        """Walks what is missing in a process and in those it runs.

        Requirements reach down into steps; ids above would be a circle.
        """
        features = inherited.of(process)
        if process.get("class") == "Operation":
            yield pointer, "An Operation has nothing to run. Replace it by a CommandLineTool."
        if process.get("class") == "ExpressionTool" and JAVASCRIPT not in features.required:
            yield from self._missing(pointer, JAVASCRIPT, "An ExpressionTool evaluates JavaScript")
        else:
            yield from self._expressions(process, pointer, features)
        for entry, _, step in entries(process.get("steps"), join(pointer, "steps")):
            if isinstance(step, dict):
                yield from self._step(step, entry, features, above)

    def _step(
        self, step: dict[str, Any], pointer: str, features: _Features, above: tuple[str, ...]
    ) -> Iterator[tuple[str, str]]:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise _TooManySteps
        below = features.of(step)
        if "scatter" in step and "ScatterFeatureRequirement" not in below:
            yield from self._missing(join(pointer, "scatter"), "ScatterFeatureRequirement", "This step scatters")
        yield from self._expressions({"when": step.get("when")}, pointer, features)
        for entry, _, parameter in entries(step.get("in"), join(pointer, "in")):
            source = parameter.get("source") if isinstance(parameter, dict) else parameter
            if isinstance(source, list) and len(source) > 1 and "MultipleInputFeatureRequirement" not in features:
                yield from self._missing(
                    entry, "MultipleInputFeatureRequirement", "This step input has several sources"
                )
            if isinstance(parameter, dict) and "valueFrom" in parameter:
                if "StepInputExpressionRequirement" not in features:
                    yield from self._missing(
                        join(entry, "valueFrom"), "StepInputExpressionRequirement", "This step input uses valueFrom"
                    )
                yield from self._expressions({"valueFrom": parameter["valueFrom"]}, entry, features)
        yield from self._embedded(step.get("run"), join(pointer, "run"), below, above)

    def _embedded(
        self, run: Any, pointer: str, features: _Features, above: tuple[str, ...]
    ) -> Iterator[tuple[str, str]]:
        if isinstance(run, str):
            name = short(run)
            if name not in self._named:
                yield pointer, f"The document has no process {name[:100]}. Add it to $graph, or correct the name."
                return
            if name in above:
                yield pointer, "This workflow runs itself. Break the circle."
                return
            process, place = self._named[name]
            above = (*above, name)
        elif isinstance(run, dict):
            process, place = run, pointer
        else:
            return
        if process.get("class") == "Workflow" and "SubworkflowFeatureRequirement" not in features:
            yield from self._missing(pointer, "SubworkflowFeatureRequirement", "This step runs a workflow")
        yield from self.process(process, place, features, above)

    def _expressions(self, value: Any, pointer: str, features: _Features) -> Iterator[tuple[str, str]]:
        """Finds JavaScript where only parameter references are allowed."""
        if JAVASCRIPT in features.required:
            return
        if isinstance(value, str):
            if self._is_javascript(value):
                yield from self._missing(
                    pointer,
                    JAVASCRIPT,
                    "This is JavaScript, or a shell's $( or ${ that needs a backslash in front",
                )
        elif isinstance(value, list):
            for index, item in enumerate(value):
                yield from self._expressions(item, join(pointer, index), features)
        elif isinstance(value, dict):
            for key, item in value.items():
                if key not in _PLAIN and ":" not in key and not key.startswith("$"):
                    yield from self._expressions(item, join(pointer, key), features)
            for field in ("requirements", "hints", "inputs", "outputs"):
                key = "class" if field in ("requirements", "hints") else "id"
                for entry, name, item in entries(value.get(field), join(pointer, field), key):
                    # What a vendor says in a hint of its own is not evaluated here.
                    if isinstance(item, dict) and not (field == "hints" and ":" in name):
                        yield from self._expressions(item, entry, features)

    def _is_javascript(self, text: str) -> bool:
        rest = text.strip()
        try:
            while span := scanner(rest):
                start, end = span
                if rest[start] == "$":
                    reference = param_re.match(rest[start + 1 : end])
                    if reference is None or reference[1] not in ("inputs", "self", "runtime", "null"):
                        return True
                if rest[start] == "\\" and self._version == "v1.2" and rest[start : end + 1] in ("\\$(", "\\${"):
                    end += 1
                rest = rest[end:]
        except SubstitutionError:
            return True
        return False

    @staticmethod
    def _missing(pointer: str, requirement: str, reason: str) -> Iterator[tuple[str, str]]:
        yield pointer, f"{reason}. Add {requirement}: {{}} to the requirements."
