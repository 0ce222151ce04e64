"""Server reflection: what services there are, and the files that describe them. Pure.

The same in two packages, v1 and v1alpha; clients try the newer one first.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from motorpool.modelserver.protocols.messages import POOL, message

SERVICES = (
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)
NOT_FOUND = 5
UNIMPLEMENTED = 12


class Reflection:
    def __init__(self, service: str, offered: Sequence[str]) -> None:
        self._response = message(f"{service}Response")
        self._offered = sorted(offered)

    async def answers(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for request in requests:
            yield self.answer(request)

    def answer(self, request: Any) -> Any:
        response = self._response(valid_host=request.host, original_request=request)
        asked = request.WhichOneof("message_request")
        if asked == "list_services":
            for name in self._offered:
                response.list_services_response.service.add(name=name)
        elif asked in ("file_by_filename", "file_containing_symbol"):
            self._describe(response, asked, getattr(request, asked))
        else:
            # Extensions belong to proto2; there are none here.
            response.error_response.error_code = NOT_FOUND if asked else UNIMPLEMENTED
            response.error_response.error_message = "there are no extensions"
        return response

    def _describe(self, response: Any, asked: str, name: str) -> None:
        find = POOL.FindFileByName if asked == "file_by_filename" else POOL.FindFileContainingSymbol
        try:
            file = find(name)
        except KeyError:
            response.error_response.error_code = NOT_FOUND
            response.error_response.error_message = f"{name[:200]} is not known"
            return
        described = response.file_descriptor_response.file_descriptor_proto
        described.extend(each.serialized_pb for each in _with_imports(file).values())


def _with_imports(file: Any) -> dict[str, Any]:
    found = {file.name: file}
    for imported in file.dependencies:
        found |= _with_imports(imported)
    return found
