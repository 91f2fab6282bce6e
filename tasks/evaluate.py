"""How well the asset fits its prompt."""

from tasks.job import Job
from tasks.keys import MESH
from tasks.manifest import Manifest, cached_task, manifest


@cached_task(name="evaluate")
def evaluate(job: Job, key: str) -> Manifest:
    """Leaves no file: the metrics are its facts."""
    from toybox.metrics.evaluate import evaluate as measure  # seconds to import, as for mesh.py

    metrics = measure(job.result(), job.prompt, job.config.evaluate, job.device, job.out / MESH)
    return manifest(job, (), metrics)
