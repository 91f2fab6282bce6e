"""The Gaussians in the format other viewers open."""

from stabledreamer_core.scene.gaussians import save_ply
from tasks.job import Job
from tasks.manifest import Manifest, cached_task, manifest


@cached_task(name="gaussians")
def gaussians(job: Job, key: str) -> Manifest:
    """Writes gaussians.ply."""
    save_ply(job.result(), job.out / "gaussians.ply")
    return manifest(job, ("gaussians.ply",))
