"""The storage group: how volumes are made. Claims and volumes themselves are core kinds."""

from motorpool.api import claims, storagecolumns
from motorpool.api.kinds import Kind
from motorpool.api.kubernetestypes import built_in

STORAGE_CLASS = Kind(
    group="storage.k8s.io", version="v1", kind="StorageClass", plural="storageclasses",
    singular="storageclass", namespaced=False, short_names=("sc",), delete_returns_object=True,
    schema=built_in("storage.k8s.io", "v1", "StorageClass"), columns=storagecolumns.STORAGE_CLASS,
    default=claims.default_storage_class, validate=claims.validate_storage_class,
)  # fmt: skip

KINDS = (STORAGE_CLASS,)
