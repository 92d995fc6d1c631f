"""Removes from the object store what belongs to jobs that were removed."""

from services.records.artifacts import ArtifactStore
from services.submission.acceptance import JobStore


class Sweeper:
    """Empties one folder after the other."""

    def __init__(self, jobs: JobStore, artifacts: ArtifactStore) -> None:
        self._jobs = jobs
        self._artifacts = artifacts

    async def step(self) -> bool:
        """Removes one folder that nothing points to any more."""
        prefix = await self._jobs.sweep()
        if prefix is None:
            return False
        await self._artifacts.remove(prefix)
        await self._jobs.swept(prefix)
        return True
