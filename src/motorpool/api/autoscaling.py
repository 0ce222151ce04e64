"""The autoscaling group: HorizontalPodAutoscalers, stored as v2 and served as v1 too."""

from motorpool.api import autoscalers, workloadcolumns
from motorpool.api.kinds import STATUS, Kind
from motorpool.api.kubernetestypes import built_in

HORIZONTAL_POD_AUTOSCALER = Kind(
    group="autoscaling", version="v2", kind="HorizontalPodAutoscaler",
    plural="horizontalpodautoscalers", singular="horizontalpodautoscaler", short_names=("hpa",),
    categories=("all",), subresources=(STATUS,),
    schema=built_in("autoscaling", "v2", "HorizontalPodAutoscaler"),
    columns=workloadcolumns.AUTOSCALER,
    default=autoscalers.default_autoscaler, validate=autoscalers.validate_autoscaler,
)  # fmt: skip
HORIZONTAL_POD_AUTOSCALER_V1 = Kind(
    group="autoscaling", version="v1", kind="HorizontalPodAutoscaler",
    plural="horizontalpodautoscalers", singular="horizontalpodautoscaler", short_names=("hpa",),
    categories=("all",), subresources=(STATUS,),
    schema=built_in("autoscaling", "v1", "HorizontalPodAutoscaler"),
    columns=workloadcolumns.AUTOSCALER,
    default=autoscalers.default_autoscaler_v1, validate=autoscalers.validate_autoscaler_v1,
    stored_as=HORIZONTAL_POD_AUTOSCALER,
    to_stored=autoscalers.v2_of, read=autoscalers.v1_of,
)  # fmt: skip

KINDS = (HORIZONTAL_POD_AUTOSCALER, HORIZONTAL_POD_AUTOSCALER_V1)
