"""The verbs over HTTP: from a request on a kind to its response."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

from motorpool.api import decode
from motorpool.api.errors import (
    ApiError,
    BadRequest,
    Expired,
    FieldError,
    ServiceUnavailable,
)
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, at
from motorpool.api.streams import LogOptions, PodStreams
from motorpool.apiserver import deletion, podactions, rendering, reviews, sent
from motorpool.apiserver import options as asked
from motorpool.apiserver.access.escalation import check_of
from motorpool.apiserver.access.gate import Gate
from motorpool.apiserver.authentication import User
from motorpool.apiserver.http import Request, Response, Stream, Takeover, json_response
from motorpool.apiserver.lists import Filter
from motorpool.apiserver.negotiation import Form, form_of
from motorpool.apiserver.options import WatchOptions, WriteOptions
from motorpool.apiserver.paths import Target
from motorpool.apiserver.refusals import invalid_options
from motorpool.apiserver.registry import Deleted, Registry, Written
from motorpool.base.clock import rfc3339

BOOKMARK_PERIOD_S = 60.0
WATCH_TIME_S = 1800.0

CHILDREN_STAY = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background "
    "to remove them or set propagationPolicy=Orphan to suppress this warning"
)
STREAMED = ("exec", "attach", "portforward")


class Resources:
    def __init__(self, registry: Registry, streams: PodStreams | None, gate: Gate) -> None:
        self._registry = registry
        self._gate = gate
        self._streams = streams

    async def answer(
        self, request: Request, kind: Kind, target: Target, user: User
    ) -> Response | Stream | Takeover:
        if kind in reviews.ANSWERS:
            return await self._review(request, kind, target, user)
        if target.subresource == "log" and request.method == "GET":
            return await self._log(request, kind, target)
        if target.subresource in STREAMED and request.method in ("GET", "POST"):
            return await self._stream(request, kind, target)
        if not target.name:
            return await self._collection(request, kind, target, user)
        return await self._one(request, kind, target, user)

    async def _one(self, request: Request, kind: Kind, target: Target, user: User) -> Response:
        """A verb on one object, or on what stands below it."""
        sent.check_served(request, kind, target)
        match request.method:
            case "GET":
                return await self._get(request, kind, target)
            case "PUT":
                return await self._update(request, kind, target, user)
            case "PATCH":
                return await self._patch(request, kind, target, user)
            case "POST" if target.subresource:
                return await self._create_below(request, kind, target)
            case "DELETE" if not target.subresource:
                return await self._delete(request, kind, target)
        raise sent.not_allowed()

    async def _collection(
        self, request: Request, kind: Kind, target: Target, user: User
    ) -> Response | Stream:
        sent.check_verb(request, kind, watches=target.watches or asked.flag(request.query, "watch"))
        match request.method:
            case "GET" if target.watches or asked.flag(request.query, "watch"):
                return self._watch(request, kind, target)
            case "GET":
                return await self._list(request, kind, target)
            case "POST" if target.namespace or not kind.namespaced:
                return await self._create(request, kind, target, user)
            case "DELETE":
                return await self._delete_collection(request, kind, target)
        raise sent.not_allowed()

    # Reading

    async def _get(self, request: Request, kind: Kind, target: Target) -> Response:
        form = form_of(request.header("accept"))
        version = request.query.get("resourceVersion", "")
        if target.subresource == "scale":
            scale = await self._registry.scale(kind, target.namespace, target.name)
            return rendering.value_response(scale, form)
        obj = await self._registry.get(
            kind, target.namespace, target.name, resource_version=version
        )
        return self._object(request, kind, obj, form)

    async def _list(self, request: Request, kind: Kind, target: Target) -> Response:
        form = form_of(request.header("accept"))
        include = rendering.include_of(request.query.get("includeObject", ""))
        options = replace(asked.list_options(request.query), full=_is_full(form, include))
        listing = await self._registry.list(kind, target.namespace, options)
        return rendering.list_response(
            kind, listing, form, now=self._registry.clock(), include=include
        )

    def _watch(self, request: Request, kind: Kind, target: Target) -> Stream:
        form = form_of(request.header("accept"))
        include = rendering.include_of(request.query.get("includeObject", ""))
        options = asked.watch_options(
            request.query, bookmark_s=BOOKMARK_PERIOD_S, timeout_s=WATCH_TIME_S
        )
        options = replace(options, full=_is_full(form, include))
        Filter(kind, options.labels, options.fields)  # refuses before the answer begins
        writer = rendering.EventWriter(kind, form, include)
        return Stream(
            self._event_lines(kind, target.namespace, options, writer),
            timeout_s=options.timeout_s,
        )

    async def _event_lines(
        self, kind: Kind, namespace: str, options: WatchOptions, writer: rendering.EventWriter
    ) -> AsyncIterator[bytes]:
        yield b""  # the answer begins before anything happens
        events = self._registry.watch(kind, namespace, options)
        try:
            async with aclosing(events):  # type: ignore[type-var]  # it is a generator
                async for event in events:
                    yield writer.line(event, self._registry.clock())
        except ApiError as error:
            if not isinstance(error, Expired) and error.code < 500:
                raise
            yield rendering.error_line(error.status())

    async def _log(self, request: Request, kind: Kind, target: Target) -> Stream:
        if not any(sub.name == "log" for sub in kind.subresources):
            raise sent.no_resource()
        if self._streams is None:
            raise ServiceUnavailable("no node is there to give logs")
        pod = await self._registry.get(kind, target.namespace, target.name)
        query = request.query
        container = container_of(pod, query.get("container", ""))
        options = LogOptions(
            follow=asked.flag(query, "follow"),
            previous=asked.flag(query, "previous"),
            timestamps=asked.flag(query, "timestamps"),
            tail_lines=sent.limit(query, "tailLines"),
            since_s=sent.limit(query, "sinceSeconds"),
            since_time=query.get("sinceTime", ""),
            limit_bytes=sent.limit(query, "limitBytes"),
        )
        return Stream(self._streams.logs(pod, container, options), "text/plain")

    async def _stream(self, request: Request, kind: Kind, target: Target) -> Takeover:
        """exec, attach and portforward, which leave HTTP."""
        from motorpool.apiserver.streaming.portforward import open_portforward
        from motorpool.apiserver.streaming.sessions import open_session

        if not any(sub.name == target.subresource for sub in kind.subresources):
            raise sent.no_resource()
        if self._streams is None:
            raise ServiceUnavailable("no node is there to connect to")
        pod = await self._registry.get(kind, target.namespace, target.name)
        if not at(pod, "spec", "nodeName"):
            raise BadRequest(f"pod {target.name} does not have a host assigned")
        if target.subresource == "portforward":
            return await open_portforward(request, pod, self._streams)
        container = container_of(pod, request.query.get("container", ""))
        return await open_session(request, pod, container, target.subresource, self._streams)

    # Writing

    async def _create(self, request: Request, kind: Kind, target: Target, user: User) -> Response:
        form = form_of(request.header("accept"))
        obj, options = await sent.decoded_of(request, kind)
        options = self._checked(options, kind, user)
        created = await self._registry.create(kind, target.namespace, obj, options)
        return self._written(request, kind, Written(created, True), form, options)

    async def _create_below(self, request: Request, kind: Kind, target: Target) -> Response:
        obj, options = await sent.decoded_of(request, kind)
        place = kind, target.namespace, target.name
        action = podactions.action_of(kind, target.subresource)
        if action is not None:
            answer = await action(self._registry, *place[1:], obj, options)
        else:
            answer = await self._registry.create_below(*place, obj, subresource=target.subresource)
        return json_response(answer, 201)

    async def _update(self, request: Request, kind: Kind, target: Target, user: User) -> Response:
        form = form_of(request.header("accept"))
        obj, options = await sent.decoded_of(request, kind)
        options = self._checked(options, kind, user)
        written = await self._registry.update(
            kind, target.namespace, target.name, obj, options, subresource=target.subresource
        )
        return self._written(request, kind, written, form, options)

    async def _patch(self, request: Request, kind: Kind, target: Target, user: User) -> Response:
        form = form_of(request.header("accept"))
        media = decode.media_type(request.header("content-type"))
        accepted = sent.patches_of(kind, target.subresource)
        decoded = decode.decode_patch(
            await request.body(),
            media,
            accepted=accepted,
            find_duplicates=request.query.get("fieldValidation") != "Ignore",
        )
        options = sent.write_options(request, tuple(decoded.duplicates))
        options = self._checked(options, kind, user)
        place = kind, target.namespace, target.name
        if media == decode.APPLY_PATCH:
            sent.check_apply(request)
            written = await self._registry.apply(
                *place, sent.shaped(decoded.object), options, subresource=target.subresource
            )
        else:
            if options.force:
                error = FieldError.forbidden("force", "may not be specified for non-apply patch")
                raise invalid_options("PatchOptions", error)
            change = sent.change_of(kind, media, decoded.object)
            written = await self._registry.patch(
                *place,
                change,
                options,
                subresource=target.subresource,
                strategic=decoded.object if media == decode.STRATEGIC_MERGE_PATCH else None,
            )
        return self._written(request, kind, written, form, options)

    async def _delete(self, request: Request, kind: Kind, target: Target) -> Response:
        form = form_of(request.header("accept"))
        options = asked.delete_options(request.query, await sent.delete_body(request))
        deleted = await self._registry.delete(kind, target.namespace, target.name, options)
        if deleted.gone and not kind.delete_returns_object:
            response = rendering.value_response(success(kind, deleted), form)
        else:
            response = self._object(request, kind, deleted.object, form)
        if deletion.orphans(kind, options):
            response.headers.append(("Warning", warning(CHILDREN_STAY)))
        return response

    async def _delete_collection(self, request: Request, kind: Kind, target: Target) -> Response:
        form = form_of(request.header("accept"))
        options = asked.delete_options(request.query, await sent.delete_body(request))
        listing = await self._registry.delete_collection(
            kind, target.namespace, asked.list_options(request.query), options
        )
        return rendering.list_response(kind, listing, form, now=self._registry.clock())

    async def _review(self, request: Request, kind: Kind, target: Target, user: User) -> Response:
        if request.method != "POST" or target.name:
            raise sent.not_allowed()
        review, _ = await sent.decoded_of(request, kind)
        moment = rfc3339(self._registry.clock())
        question = reviews.Question(kind, review, user, target.namespace, self._gate)
        return json_response(await reviews.answer(question, moment), 201)

    def _checked(self, options: WriteOptions, kind: Kind, user: User) -> WriteOptions:
        """With what this user may not store of that kind."""
        check = check_of(kind, user, self._gate.policy)
        return options if check is None else replace(options, check=check)

    def _object(
        self, request: Request, kind: Kind, obj: Object, form: Form, status: int = 200
    ) -> Response:
        return rendering.object_response(
            kind,
            obj,
            form,
            now=self._registry.clock(),
            include=rendering.include_of(request.query.get("includeObject", "")),
            status=status,
        )

    def _written(
        self, request: Request, kind: Kind, written: Written, form: Form, options: WriteOptions
    ) -> Response:
        status = 201 if written.created else 200
        if written.object["kind"] != kind.kind:  # a Scale
            response = rendering.value_response(written.object, form, status)
        else:
            response = self._object(request, kind, written.object, form, status)
        response.headers += [("Warning", warning(text)) for text in options.warnings]
        return response


def container_of(pod: Object, wanted: str) -> str:
    """The container whose log is meant. Raises BadRequest in the server's words."""
    spec = pod.get("spec") or {}
    lists = ("initContainers", "containers", "ephemeralContainers")
    names = [c["name"] for part in lists for c in spec.get(part) or ()]
    pod_name = pod["metadata"]["name"]
    if wanted:
        if wanted not in names:
            raise BadRequest(f"container {wanted} is not valid for pod {pod_name}")
        return wanted
    if len(names) == 1:
        return str(names[0])
    raise BadRequest(
        f"a container name must be specified for pod {pod_name}, choose one of: [{' '.join(names)}]"
    )


def success(kind: Kind, deleted: Deleted) -> Object:
    metadata = deleted.object["metadata"]
    details = {"name": metadata["name"], "group": kind.group, "kind": kind.plural}
    details["uid"] = metadata["uid"]
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {key: value for key, value in details.items() if value},
    }


def warning(text: str) -> str:
    """The value of a Warning header, which is Latin-1 on one line."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'299 - "{plain.encode("latin-1", "replace").decode("latin-1")}"'


def _is_full(form: Form, include: rendering.Include) -> bool:
    """Whether the answer shows who owns what: rows of a Table do only with whole objects."""
    return form.shape != "Table" or include == "Object"
