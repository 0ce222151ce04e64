"""What can go wrong with a request; knows nothing of HTTP or gRPC.

Clients of OpenVINO Model Server match on these texts, so each class carries the text and an
instance adds the details: "text - details".

InferError
    InvalidInput           the request is wrong; sending it again will not help
        MalformedJson      it is no JSON at all
        UnusableContent    well-formed, but its content cannot be turned into tensors
            EmptyContent   there is none
        TooLarge
        TooSlow            the body did not come
    UnknownAddress         nothing has that URL
    UnsupportedMethod      something has that URL, and does not take this verb
    NotFound               no model, or no version, of that name
        NotLoaded          there is one, and it is not loaded
    Unavailable            the request is fine; sending it again may help
        NotReady           the server still loads its models
        Overloaded         the queue is full
        Expired            its own time was over before there was an answer
    ClientLeft             nobody waits for the answer
    ModelFault             the engine failed; not the request's fault
    ReloadFailed           not everything in config.json can be served
        NoConfig           config.json cannot be read
        InvalidConfig      config.json itself is wrong
"""


class InferError(Exception):
    def __init__(self, text: str, details: str = "") -> None:
        super().__init__(f"{text} - {details}" if details else text)


class InvalidInput(InferError):
    pass


class MalformedJson(InvalidInput):
    pass


class UnusableContent(InvalidInput):
    pass


class EmptyContent(UnusableContent):
    pass


class TooLarge(InvalidInput):
    pass


class TooSlow(InvalidInput):
    pass


class UnknownAddress(InferError):
    def __init__(self) -> None:
        super().__init__("Invalid request URL")


class UnsupportedMethod(InferError):
    def __init__(self) -> None:
        super().__init__("Unsupported method")


class NotFound(InferError):
    pass


class NotLoaded(NotFound):
    def __init__(self) -> None:
        super().__init__("Model with requested version is not loaded yet")


class Unavailable(InferError):
    pass


class NotReady(Unavailable):
    def __init__(self) -> None:
        super().__init__("Server is not ready")


class Overloaded(Unavailable):
    pass


class Expired(Unavailable):
    def __init__(self, details: str) -> None:
        super().__init__("Request timeout expired", details)


class ClientLeft(InferError):
    def __init__(self) -> None:
        super().__init__("The client left before the answer")


class ModelFault(InferError):
    pass


class ReloadFailed(InferError):
    pass


class NoConfig(ReloadFailed):
    def __init__(self) -> None:
        super().__init__("Config file not found or cannot open.")


class InvalidConfig(ReloadFailed):
    pass


NOT_AN_ARRAY = "Could not parse input content. Not valid ndarray detected"
UNSUPPORTED_PRECISION = "Could not parse input content. Unsupported data precision detected"
