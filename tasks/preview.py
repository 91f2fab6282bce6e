"""Eight views in one picture."""

from stabledreamer_core.assets.turntable import write_preview
from tasks.job import Job
from tasks.manifest import Manifest, cached_task, manifest


@cached_task(name="preview")
def preview(job: Job, key: str) -> Manifest:
    """Writes preview.png."""
    write_preview(job.result(), job.config.turntable, job.out / "preview.png", job.device)
    return manifest(job, ("preview.png",))
