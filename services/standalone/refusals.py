"""Why a command gives up: one sentence for the person who typed it."""


class CannotStart(Exception):
    """What was asked for cannot be done here; the message is a sentence that says why and what would help."""
