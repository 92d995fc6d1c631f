"""Puts the built-in processes into the database, as soon as there is one."""

from collections.abc import Mapping

from services.submission.processes import Deployable, ProcessStore


class Installer:
    """Installs each built-in process once for each start of the service."""

    def __init__(self, processes: ProcessStore, builtins: Mapping[str, Deployable]) -> None:
        self._processes = processes
        self._waiting = dict(builtins)

    @property
    def done(self) -> bool:
        """Whether all of them are installed."""
        return not self._waiting

    async def step(self) -> bool:
        """Installs one process."""
        if not self._waiting:
            return False
        process_id, deployable = next(iter(self._waiting.items()))
        await self._processes.install(process_id, deployable)
        del self._waiting[process_id]
        return True
