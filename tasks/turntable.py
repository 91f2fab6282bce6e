"""The video of one full turn."""

from stabledreamer_core.assets.turntable import write_turntable
from tasks.job import Job
from tasks.manifest import Manifest, cached_task, manifest


@cached_task(name="turntable")
def turntable(job: Job, key: str) -> Manifest:
    """Writes turntable.mp4."""
    write_turntable(job.result(), job.config.turntable, job.out / "turntable.mp4", job.device)
    return manifest(job, ("turntable.mp4",))
