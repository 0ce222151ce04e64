"""The coordination.k8s.io group: who holds what, until when."""

from motorpool.api.kinds import Kind

LEASE = Kind(
    group="coordination.k8s.io", version="v1", kind="Lease", plural="leases", singular="lease",
    update_needs_resource_version=True, update_may_create=True,
)  # fmt: skip

KINDS = (LEASE,)
