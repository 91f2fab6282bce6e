"""Read a stage's checkpoint back before anything is built on it."""

from stabledreamer_core.errors import UserError
from stabledreamer_core.optimization.checkpoint import load_checkpoint
from tasks.job import Job
from tasks.keys import STAGE1, STAGE2
from tasks.manifest import Manifest, cached_task, manifest


@cached_task(name="checkpoint")
def checkpoint(job: Job, number: int, key: str) -> Manifest:
    """Raises UserError if the stage diverged: Gaussians that are not finite, or none."""
    splats, _ = load_checkpoint(job.out / (STAGE1, STAGE2)[number - 1])
    if not all(bool(value.isfinite().all()) for value in splats.values()):
        raise UserError(
            f"stage {number} diverged: some Gaussians are not finite; "
            f"lower stage{number}.learning_rates or try another --seed"
        )
    return manifest(job, (), {"gaussians": len(splats["means"])})
