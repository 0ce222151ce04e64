"""A user's mistake that shows only once all objects are looked at together.

It is not an error of the program: reconcile writes it into the status, where the user looks, with
what to do next. *reason* is one of KServe's failure reasons where one fits.
"""


class Refusal(Exception):
    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


RUNTIME_NOT_RECOGNIZED = "RuntimeNotRecognized"
RUNTIME_DISABLED = "RuntimeDisabled"
NO_SUPPORTING_RUNTIME = "NoSupportingRuntime"
INVALID_PREDICTOR_SPEC = "InvalidPredictorSpec"
INVALID_CONFIGURATION = "InvalidConfiguration"
MODE_NOT_SUPPORTED = "DeploymentModeNotSupported"
AUTOSCALER_NOT_SUPPORTED = "AutoscalerNotSupported"
NAME_TAKEN = "NameTaken"
HARDWARE_PROFILE_NOT_FOUND = "HardwareProfileNotFound"
HARDWARE_PROFILE_INVALID = "InvalidHardwareProfile"
NOT_ACCEPTED = "ReconcileFailed"
