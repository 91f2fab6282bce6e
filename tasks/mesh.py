"""The closed, coloured mesh."""

from stabledreamer_core.keys import MESH
from tasks.job import Job
from tasks.manifest import Manifest, cached_task, manifest


@cached_task(name="mesh")
def mesh(job: Job, key: str) -> Manifest:
    """Writes mesh.glb."""
    from stabledreamer_core.mesh import write_mesh  # open3d takes seconds to import

    facts = write_mesh(job.result(), job.config.mesh, job.out / MESH, job.device)
    return manifest(job, (MESH,), facts)
