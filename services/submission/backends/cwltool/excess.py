"""What a run can have too much of, and how a failure tells it."""

from enum import StrEnum


class Excess(StrEnum):
    """What a run has too much of."""

    bytes = "bytes"
    files = "files"
    descriptors = "descriptors"
    depth = "depth"
    hidden = "hidden"
    """A directory stays unreadable, so that nobody can tell what is in it."""
    disk = "disk"
    """It wrote most of all runs when the disk was nearly full."""


OPERATOR_LIMIT = "The operator can allow more (SUBMISSION_LIMITS__{setting})."
EXCESSES = {
    Excess.bytes: "The job was ended since its files and logs take more than the {mib} MiB it may use. "
    + OPERATOR_LIMIT.format(setting="OUTPUT_MIB"),
    Excess.files: "The job was ended since it made more than {files} files and directories. "
    + OPERATOR_LIMIT.format(setting="FILES"),
    Excess.descriptors: "The job was ended since its processes had more than {descriptors} files open.",
    Excess.depth: "The job was ended since its directories are nested too deep: more than {depth} levels, or with a "
    "path of more than 4096 bytes.",
    Excess.hidden: "The job was ended since it keeps a directory that nobody may read (mode 000), so that what it "
    "writes cannot be measured.",
    Excess.disk: "The job was ended since the disk of this installation is nearly full and it had written most of all "
    "that ran. Try again later; the operator can make room.",
}
