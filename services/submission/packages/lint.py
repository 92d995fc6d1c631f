"""Features which a package uses without asking for them.

The CWL library validates such a package and lets its job fail in the middle; the wording here tells at deploy what is
missing and where.
"""

import re
from collections.abc import Iterator
from typing import Any

from cwl_utils.errors import SubstitutionError
from cwl_utils.expression import scanner
from cwl_utils.sandboxjs import param_re

from services.submission.packages.document import Document, join, offence
from services.submission.packages.refusal import MAX_OFFENCES, Offence, invalid
from services.submission.packages.structure import entries, requirements, short, top_processes

MAX_STEPS = 1000
"""Steps after nested workflows are written out: a short document can name an endless number of them."""

# Texts which the CWL library never evaluates.
_PLAIN = frozenset(
    {
        "id",
        "label",
        "doc",
        "default",
        "intent",
        "expressionLib",
        "types",
        "class",
        "type",
        "run",
        "source",
        "requirements",
        "hints",
        "steps",
        "in",
        "inputs",
        "outputs",
    }
)
_REFERENCE = re.compile(r"\$\((.*)\)", re.DOTALL)


def check_features(document: Document, process: dict[str, Any], pointer: str) -> None:
    """Refuses a process that uses what it does not require, naming every place and the requirement to add."""
    lint = _Lint(document)
    try:
        for place, message in lint.process(process, pointer, frozenset(), ()):
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


class _Lint:
    def __init__(self, document: Document) -> None:
        self.found: list[Offence] = []
        self._version = document.value.get("cwlVersion")
        self._named = {
            short(process.get("id", "")): (process, pointer) for pointer, process in top_processes(document.value)
        }
        self._steps = 0

    def process(
        self, process: dict[str, Any], pointer: str, inherited: frozenset[str], above: tuple[str, ...]
    ) -> Iterator[tuple[str, str]]:
        """Walks what is missing in a process and in those it runs.

        Requirements reach down into steps; ids above would be a circle.
        """
        required = inherited | {name for _, name, _ in requirements(process, pointer, "requirements")}
        hinted = required | {name for _, name, _ in requirements(process, pointer, "hints")}
        if process.get("class") == "Operation":
            yield pointer, "An Operation has nothing to run. Replace it by a CommandLineTool."
        if process.get("class") == "ExpressionTool" and "InlineJavascriptRequirement" not in required:
            yield from self._missing(pointer, "InlineJavascriptRequirement", "An ExpressionTool evaluates JavaScript")
        else:
            yield from self._expressions(process, pointer, required)
        for entry, _, step in entries(process.get("steps"), join(pointer, "steps")):
            if isinstance(step, dict):
                yield from self._step(step, entry, required, hinted, above)

    def _step(
        self,
        step: dict[str, Any],
        pointer: str,
        required: frozenset[str],
        hinted: frozenset[str],
        above: tuple[str, ...],
    ) -> Iterator[tuple[str, str]]:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise _TooManySteps
        own = frozenset(name for _, name, _ in requirements(step, pointer))
        if "scatter" in step and "ScatterFeatureRequirement" not in hinted | own:
            yield from self._missing(join(pointer, "scatter"), "ScatterFeatureRequirement", "This step scatters")
        yield from self._expressions({"when": step.get("when")}, pointer, required)
        for entry, _, parameter in entries(step.get("in"), join(pointer, "in")):
            source = parameter.get("source") if isinstance(parameter, dict) else parameter
            if isinstance(source, list) and len(source) > 1 and "MultipleInputFeatureRequirement" not in hinted:
                yield from self._missing(
                    entry, "MultipleInputFeatureRequirement", "This step input has several sources"
                )
            if isinstance(parameter, dict) and "valueFrom" in parameter:
                if "StepInputExpressionRequirement" not in hinted:
                    yield from self._missing(
                        join(entry, "valueFrom"), "StepInputExpressionRequirement", "This step input uses valueFrom"
                    )
                yield from self._expressions({"valueFrom": parameter["valueFrom"]}, entry, required)
        yield from self._embedded(step.get("run"), join(pointer, "run"), required | own, hinted | own, above)

    def _embedded(
        self, run: Any, pointer: str, required: frozenset[str], hinted: frozenset[str], above: tuple[str, ...]
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
        if process.get("class") == "Workflow" and "SubworkflowFeatureRequirement" not in hinted:
            yield from self._missing(pointer, "SubworkflowFeatureRequirement", "This step runs a workflow")
        yield from self.process(process, place, required, above)

    def _expressions(self, value: Any, pointer: str, required: frozenset[str]) -> Iterator[tuple[str, str]]:
        """Finds JavaScript where only parameter references are allowed."""
        if "InlineJavascriptRequirement" in required:
            return
        if isinstance(value, str):
            if self._is_javascript(value):
                yield from self._missing(
                    pointer,
                    "InlineJavascriptRequirement",
                    "This is JavaScript, or a shell's $( or ${ that needs a backslash in front",
                )
        elif isinstance(value, list):
            for index, item in enumerate(value):
                yield from self._expressions(item, join(pointer, index), required)
        elif isinstance(value, dict):
            for key, item in value.items():
                if key not in _PLAIN and ":" not in key and not key.startswith("$"):
                    yield from self._expressions(item, join(pointer, key), required)
            for field in ("requirements", "hints", "inputs", "outputs"):
                for entry, _, item in entries(
                    value.get(field), join(pointer, field), "class" if field in ("requirements", "hints") else "id"
                ):
                    if isinstance(item, dict):
                        yield from self._expressions(item, entry, required)

    def _is_javascript(self, text: str) -> bool:
        rest = text.strip()
        try:
            while span := scanner(rest):
                start, end = span
                if rest[start] == "$" and not param_re.match(rest[start + 1 : end]):
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
