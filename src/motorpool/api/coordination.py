"""The coordination.k8s.io group: who holds what, until when."""

from motorpool.api import columns, records
from motorpool.api.kinds import Kind
from motorpool.api.kubernetestypes import built_in

LEASE = Kind(
    group="coordination.k8s.io", version="v1", kind="Lease", plural="leases", singular="lease",
    update_needs_resource_version=True, update_may_create=True,
    schema=built_in("coordination.k8s.io", "v1", "Lease"), columns=columns.LEASE,
    validate=records.validate_lease,
)  # fmt: skip

KINDS = (LEASE,)
