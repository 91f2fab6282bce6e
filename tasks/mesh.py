"""The closed, coloured mesh."""

from tasks.job import Job
from tasks.keys import MESH
from tasks.manifest import Manifest, cached_task, manifest


@cached_task(name="mesh")
def mesh(job: Job, key: str) -> Manifest:
    """Writes mesh.glb."""
    from stabledreamer_core.assets.mesh.extract import write_mesh  # open3d takes seconds to import

    facts = write_mesh(job.result(), job.config.mesh, job.out / MESH, job.device)
    return manifest(job, (MESH,), facts)
