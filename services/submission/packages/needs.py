"""What a package needs of the installation that runs it: container images, the network, memory, cores, GPUs."""

from collections.abc import Iterator
from typing import Any

from services.submission.packages.document import join
from services.submission.packages.structure import entries, requirements, short, top_processes

IMAGES = ("dockerPull", "dockerImageId", "dockerLoad", "dockerImport")
MOST_IMAGES = 50


def read_needs(document: dict[str, Any], process: dict[str, Any], pointer: str) -> list[dict[str, Any]]:
    """Gives the needs of a process and of all that it runs, each as `kind` with what it is of.

    An image has `image` and whether it is `required` or hinted at; the network likewise `required`; memory has `mib`,
    and cores `count`, the most that any part asks for. What an expression computes is not known before a job runs.
    """
    images: dict[str, bool] = {}
    network: list[bool] = []
    gpu: list[bool] = []
    most: dict[str, float] = {}
    for required, name, content in _requirements(document, process, pointer):
        match name.rpartition(":")[2]:
            case "DockerRequirement":
                image = next((content[field] for field in IMAGES if isinstance(content.get(field), str)), None)
                if image is not None and (image in images or len(images) < MOST_IMAGES):
                    images[image] = images.get(image, False) or required
            case "NetworkAccess" if content.get("networkAccess") not in (None, False):
                network.append(required)
            case "CUDARequirement":
                gpu.append(required)
            case "ResourceRequirement":
                for field in ("ram", "cores"):
                    asked = content.get(f"{field}Min", content.get(f"{field}Max"))
                    if isinstance(asked, int | float) and not isinstance(asked, bool):
                        most[field] = max(most.get(field, 0), asked)
    needs: list[dict[str, Any]] = [
        {"kind": "image", "image": image, "required": required} for image, required in images.items()
    ]
    needs += [{"kind": kind, "required": any(asked)} for kind, asked in (("network", network), ("gpu", gpu)) if asked]
    needs += [{"kind": "memory", "mib": _plain(most["ram"]), "required": True}] if "ram" in most else []
    needs += [{"kind": "cores", "count": _plain(most["cores"]), "required": True}] if "cores" in most else []
    return needs


def _plain(amount: float) -> float:
    return int(amount) if float(amount).is_integer() else amount


def _requirements(
    document: dict[str, Any], process: dict[str, Any], pointer: str
) -> Iterator[tuple[bool, str, dict[str, Any]]]:
    """Walks the requirements and hints of a process, its steps and what those run, each part once."""
    named = {short(found.get("id", "")): (found, place) for place, found in top_processes(document)}
    waiting, seen = [(process, pointer)], {pointer}
    while waiting:
        holder, place = waiting.pop()
        for field in ("requirements", "hints"):
            for _, name, content in requirements(holder, place, field):
                yield field == "requirements", name, content
        run = holder.get("run")
        inner: list[tuple[Any, str]] = [
            (step, at) for at, _, step in entries(holder.get("steps"), join(place, "steps"))
        ]
        inner += [named.get(short(run), (None, ""))] if isinstance(run, str) else [(run, join(place, "run"))]
        for part, at in inner:
            if isinstance(part, dict) and at not in seen:
                seen.add(at)
                waiting.append((part, at))
