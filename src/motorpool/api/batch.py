"""The batch group: work that ends."""

from motorpool.api import jobs, workloadcolumns
from motorpool.api.kinds import STATUS, Kind
from motorpool.api.kubernetestypes import built_in
from motorpool.api.selectors import field_at

JOB = Kind(
    group="batch", version="v1", kind="Job", plural="jobs", singular="job", categories=("all",),
    has_generation=True, orphans_dependents=True, subresources=(STATUS,),
    schema=built_in("batch", "v1", "Job"), columns=workloadcolumns.JOB,
    selectable_fields={"status.successful": field_at("status", "succeeded", default="0")},
    default=jobs.default_job, validate=jobs.validate_job,
)  # fmt: skip

KINDS = (JOB,)
