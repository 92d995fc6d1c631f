"""Decides what expressions see of the directories that a caller gave.

They come with the listing that the caller gave, in its order and with all that is said of each entry. Nothing has to
be loaded of it, so it stays where a package says nothing of listings; where one does (`loadListing`,
`LoadListingRequirement`), expressions see as much as it asks for.
"""

import sys
from typing import Any

from cwltool.process import Process

from services.submission.cwl.library import shortname

LEVELS = {"no_listing": 0, "shallow_listing": 1, "deep_listing": sys.maxsize}


def trim_listings(process: Process, inputs: dict[str, Any]) -> None:
    """Takes what the process does not want of listings out of its inputs, in place."""
    requirement = process.get_requirement("LoadListingRequirement")[0] or {}
    for parameter in process.tool["inputs"]:
        asked = parameter.get("loadListing") or requirement.get("loadListing")
        if asked is not None:
            _trim(inputs.get(shortname(parameter["id"])), LEVELS[str(asked)])


def _trim(value: Any, levels: int) -> None:
    if isinstance(value, list):
        for item in value:
            _trim(item, levels)
    elif isinstance(value, dict):
        if value.get("class") == "Directory":
            for entry in value.get("listing") or ():
                _trim(entry, levels - 1)
            if levels < 1:
                value.pop("listing", None)
            return
        for member in value.values():
            _trim(member, levels)
