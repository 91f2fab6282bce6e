"""run.json and the page that shows it all."""

from typing import Any

from prefect import task

from tasks import run_record
from tasks.job import Job
from tasks.report.page import write_report


@task(name="report", task_run_name="report")
def report(job: Job, steps: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Never cached: it takes a moment, and run.json must name every other file.

    The page reads run.json, and run.json holds the page's hash: so it is written twice.
    """
    record = run_record.compose(job.prompt, job.seed, job.config, device_name(job), steps)
    run_record.write(job.out, record)
    write_report(job.out)
    record["files"] |= run_record.hash_files(job.out, (run_record.REPORT,))
    run_record.write(job.out, record)
    return record


def device_name(job: Job) -> str:
    """Such as "cpu (2 threads)" or "cuda (NVIDIA H200)"."""
    import torch

    if job.device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(job.device)})"
    return f"cpu ({torch.get_num_threads()} threads)"
