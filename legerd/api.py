"""The HTTP face of the service: setec's paths, checks, statuses and texts; Leger's own calls.

The only importer of bottle, which routes and nothing more: bodies are read from wsgi.input (bottle
would spill them into files), and whatever goes wrong ends at a wall of ours that logs the kind
and the place of an exception, never its text, which may hold bytes of a request.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec

import bottle

from legerd import calls, descriptions, log, metrics, paths, static, wire
from legerd.audit import AuditUnavailable
from legerd.errors import (
    AccessDenied,
    InvalidDescription,
    InvalidVersion,
    KeyUnavailable,
    LegerdError,
    NotFound,
    NotSupported,
    Rejected,
    StoreCorrupt,
    StoreLocked,
    StoreUnavailable,
    ValueUnchanged,
    VersionClaimed,
)
from legerd.identity import Caller, IdentityError
from legerd.page import HEADERS, Page
from legerd.service import Fetched, Info, Service
from legerd.upkeep import Upkeep

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

_FOREIGN = "/ foreign"
#: Reading JSON costs seconds in the worst case: nobody who may do nothing can ask for that.
MAX_BODY_WITHOUT_RULES = 64 << 10

Environment = dict[str, Any]
Identify = Callable[[Environment], Caller]
Read = Callable[[Service, Caller], bottle.HTTPResponse]
_Arguments = ParamSpec("_Arguments")

_TOO_MUCH = (
    f"at most {descriptions.MAX_TEXT} characters of description, {descriptions.MAX_LABELS} "
    f"printable labels of {descriptions.MAX_LABEL} characters; the expiry date as RFC 3339"
)
#: What each error answers; everything that is not here is a bug (a test walks all classes).
STATUSES: Mapping[type[LegerdError], tuple[int, str]] = {
    AccessDenied: (403, "access denied"),
    NotFound: (404, "not found"),
    ValueUnchanged: (304, ""),
    InvalidVersion: (400, "invalid version, please specify a version > 0"),
    VersionClaimed: (412, "version already set"),
    InvalidDescription: (400, _TOO_MUCH),
    NotSupported: (501, "setec's own file has no place for this"),
    Rejected: (500, "internal error"),
    AuditUnavailable: (500, "internal error"),
    StoreUnavailable: (500, "internal error"),
    StoreCorrupt: (500, "internal error"),
    StoreLocked: (500, "internal error"),
    KeyUnavailable: (500, "internal error"),
}


#: What an administrator has to know of; these say which file and what is wrong with it.
_TROUBLES = (StoreUnavailable, StoreCorrupt)


def _list(service: Service, caller: Caller, _request: calls.ListRequest) -> str:
    return wire.array(map(_info_json, service.list(caller)))


def _get(service: Service, caller: Caller, request: calls.GetRequest) -> str:
    get = service.get_changed if request.UpdateIfChanged and request.Version else service.get
    value, version = get(caller, request.Name, request.Version)
    return f'{{"Value":{wire.base64(value)},"Version":{version}}}'


def _info(service: Service, caller: Caller, request: calls.NameRequest) -> str:
    return _info_json(service.info(caller, request.Name))


def _put(service: Service, caller: Caller, request: calls.PutRequest) -> str:
    return str(service.put(caller, request.Name, request.Value))


def _create_version(service: Service, caller: Caller, request: calls.CreateVersionRequest) -> str:
    service.create_version(caller, request.Name, request.Version, request.Value)
    return "{}"


def _activate(service: Service, caller: Caller, request: calls.VersionRequest) -> str:
    service.activate(caller, request.Name, request.Version)
    return "{}"


def _delete(service: Service, caller: Caller, request: calls.NameRequest) -> str:
    service.delete(caller, request.Name)
    return "{}"


def _delete_version(service: Service, caller: Caller, request: calls.VersionRequest) -> str:
    service.delete_version(caller, request.Name, request.Version)
    return "{}"


def _fetch(service: Service, caller: Caller, request: calls.FetchRequest) -> str:
    answers = ",".join(map(_fetched_json, service.fetch(caller, request)))
    return f'{{"Secrets":[{answers}]}}'


def _watch(service: Service, caller: Caller, request: calls.WatchRequest) -> str:
    told = service.watch(caller, request, bottle.request.environ.get("legerd.until"))
    answers = (
        f'{{"Name":{wire.text(each.name)},"Status":{each.status},"Version":{each.version}}}'
        for each in told
    )
    return f'{{"Secrets":[{",".join(answers)}]}}'


def _history(service: Service, caller: Caller, request: calls.NameRequest) -> str:
    return descriptions.history(service.history(caller, request.Name))


def _describe(service: Service, caller: Caller, request: calls.DescribeRequest) -> str:
    service.describe(caller, request)
    return "{}"


def _upkeep(
    call: Callable[[Upkeep, Caller, Any], str],
) -> Callable[[Service, Caller, Any], str]:
    return lambda service, caller, request: call(service.upkeep, caller, request)


@dataclass(frozen=True)
class _Call:
    """A call: what it takes, what does it; one that `reads` changes nothing."""

    request: type
    answer: Callable[[Service, Caller, Any], str]
    reads: bool = False


_CALLS: Mapping[str, _Call] = {
    "/api/list": _Call(calls.ListRequest, _list, reads=True),
    "/api/get": _Call(calls.GetRequest, _get, reads=True),
    "/api/info": _Call(calls.NameRequest, _info, reads=True),
    "/api/put": _Call(calls.PutRequest, _put),
    "/api/create-version": _Call(calls.CreateVersionRequest, _create_version),
    "/api/activate": _Call(calls.VersionRequest, _activate),
    "/api/delete": _Call(calls.NameRequest, _delete),
    "/api/delete-version": _Call(calls.VersionRequest, _delete_version),
    "/api/leger/fetch": _Call(calls.FetchRequest, _fetch, reads=True),
    "/api/leger/watch": _Call(calls.WatchRequest, _watch, reads=True),
    "/api/leger/status": _Call(calls.ListRequest, _upkeep(Upkeep.status)),
    "/api/leger/history": _Call(calls.NameRequest, _history, reads=True),
    "/api/leger/describe": _Call(calls.DescribeRequest, _describe),
    "/api/leger/recovery": _Call(calls.RecoveryRequest, _upkeep(Upkeep.recovery)),
    "/api/leger/rekey": _Call(calls.RekeyRequest, _upkeep(Upkeep.rekey)),
    "/api/leger/backup": _Call(calls.ListRequest, _upkeep(Upkeep.backup)),
    "/api/leger/check": _Call(calls.ListRequest, _upkeep(Upkeep.check)),
}


#: What takes no longer than to hand it to another thread.
QUICK = frozenset({"/api/get", "/api/info", "/api/leger/fetch"})


def _info_json(info: Info) -> str:
    versions = ",".join(map(str, info.versions))
    name = wire.text(info.name)
    return f'{{"Name":{name},"Versions":[{versions}],"ActiveVersion":{info.active}}}'


def _fetched_json(answer: Fetched) -> str:
    return (
        f'{{"Name":{wire.text(answer.name)},"Status":{answer.status},"Version":{answer.version},'
        f'"Value":{wire.base64(answer.value)},"Tag":{wire.text(answer.tag)}}}'
    )


def make_app(
    service: Service, identify: Identify, page: Page, hosts: Collection[str] = ()
) -> WSGIApplication:
    """The WSGI application over `service`; `identify` tells who sent a request.

    `page` is what a browser is shown.
    `hosts` are the names by which a TCP listener may be asked (a browser that was sent here by a
    foreign name is refused); none means that any will do, as on a unix socket.
    It expects the request's path as it came, still percent-encoded, as environ["legerd.path"], and
    leaves the one that it took it for as environ["legerd.call"].
    """
    routes = _routes(service, identify, page)
    app = bottle.Bottle()
    app.catchall = False
    for path, answer in routes.items():
        app.route(path, method="ANY", callback=answer)
    app.route(_FOREIGN, method="ANY", callback=partial(_plain, 403, "access denied"))

    def wall(environ: Environment, start_response: StartResponse) -> Iterable[bytes]:
        path = paths.decoded(environ["legerd.path"])
        environ["PATH_INFO"] = environ["legerd.call"] = path if path in routes else "/"
        if hosts and paths.host(environ.get("HTTP_HOST", "")) not in hosts:
            environ["PATH_INFO"] = _FOREIGN

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if environ.get("legerd.bare"):  # bottle always adds a Content-Type
                headers = [header for header in headers if header[0] != "Content-Type"]
            return start_response(status, headers, exc_info)

        try:
            return app(environ, start)  # type: ignore[no-any-return]
        except Exception as error:  # noqa: BLE001 - what it says must not be printed
            log.error(_place(error))
            refusal = b"internal error\n"
            headers = [*_plain_headers(), ("Content-Length", str(len(refusal)))]
            start_response("500 Internal Server Error", headers, sys.exc_info())
            return [refusal]

    return wall


def _routes(
    service: Service, identify: Identify, page: Page
) -> dict[str, Callable[[], bottle.HTTPResponse]]:
    """What answers at each path; / does at every other."""
    return {
        **{path: partial(_answer, service, identify, call) for path, call in _CALLS.items()},
        **{path: partial(_read, service, identify, read) for path, read in _READS.items()},
        **{path: partial(_static, path) for path in static.FILES},
        "/": partial(_page, service, identify, page),
    }


def _guarded(
    answer: Callable[_Arguments, bottle.HTTPResponse],
) -> Callable[_Arguments, bottle.HTTPResponse]:
    """`answer`, with the refusals that its errors mean."""

    def guarded(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> bottle.HTTPResponse:
        try:
            return answer(*args, **kwargs)
        except IdentityError:
            return _plain(500, "unable to identify caller")
        except wire.BadRequestError:
            return _plain(400, "bad request")
        except LegerdError as error:
            if isinstance(error, _TROUBLES):
                log.error(error, error.hint)
            return _plain(*STATUSES[type(error)])

    return guarded


@_guarded
def _answer(service: Service, identify: Identify, call: _Call) -> bottle.HTTPResponse:
    """One call: setec's checks in setec's order, then the service."""
    environ = bottle.request.environ
    if refusal := _refusal(environ):
        return _plain(*refusal)
    caller = identify(environ)
    body = environ["wsgi.input"].read()
    if len(body) > MAX_BODY_WITHOUT_RULES and not caller.rules:
        return _plain(413, "request body too large")
    request: Any = wire.decode(body, call.request)
    if call.reads:
        with service.promising() as environ["legerd.promise"]:
            result = call.answer(service, caller, request)
    else:
        result = call.answer(service, caller, request)
    return bottle.HTTPResponse(result.encode(), 200, {"Content-Type": "application/json"})


@_guarded
def _read(service: Service, identify: Identify, read: Read) -> bottle.HTTPResponse:
    """What a browser or a scraper reads: by GET, and only who is known."""
    environ = bottle.request.environ
    if environ["REQUEST_METHOD"] != "GET":
        return _plain(400, "invalid method")
    return read(service, identify(environ))


def _refusal(environ: Environment) -> tuple[int, str] | None:
    """What is wrong with a call before anybody asks who makes it."""
    if environ["REQUEST_METHOD"] != "POST":
        return 400, "only POST requests allowed"
    if environ.get("CONTENT_TYPE") != "application/json":
        return 400, "request body must be json"
    if environ.get("HTTP_SEC_X_TAILSCALE_NO_BROWSERS") != "setec":
        return 403, "access denied"
    return None


def _page(service: Service, identify: Identify, page: Page) -> bottle.HTTPResponse:
    """What is at / and at every path that nobody knows."""
    environ = bottle.request.environ
    path, method = environ["legerd.path"], environ["REQUEST_METHOD"]
    if (clean := paths.clean(path)) != path:
        return _moved(clean, method, environ["QUERY_STRING"])
    if path.startswith("/static/"):
        return _plain(404, "404 page not found")
    return _read(service, identify, partial(_secrets, page))


def _secrets(page: Page, service: Service, caller: Caller) -> bottle.HTTPResponse:
    query = bottle.request.environ["QUERY_STRING"]
    body = page.html(caller.principal, service.visible(caller), query)
    return bottle.HTTPResponse(body, 200, HEADERS)


def _metrics(service: Service, caller: Caller) -> bottle.HTTPResponse:
    text = metrics.prometheus(service.requests.paths(), service.state(caller))
    return bottle.HTTPResponse(text.encode(), 200, {"Content-Type": metrics.PROMETHEUS})


def _variables(service: Service, caller: Caller) -> bottle.HTTPResponse:
    service.state(caller)
    text = metrics.variables(service.requests.paths())
    return bottle.HTTPResponse(text.encode(), 200, {"Content-Type": metrics.VARIABLES})


_READS: Mapping[str, Read] = {"/metrics": _metrics, "/debug/vars": _variables}


def _static(path: str) -> bottle.HTTPResponse:
    kind, body = static.FILES[path]
    return bottle.HTTPResponse(body, 200, {"Content-Type": kind, "Accept-Ranges": "bytes"})


def _moved(path: str, method: str, query: str) -> bottle.HTTPResponse:
    """Go's redirect to a clean path, with its body for GET; Go encodes the path once more."""
    path = path.replace("%", "%25")
    target = f"{path}?{query}" if query else path
    headers = {"Location": target}
    if method not in ("GET", "HEAD"):
        bottle.request.environ["legerd.bare"] = True
        return bottle.HTTPResponse(b"", 301, headers)
    headers["Content-Type"] = "text/html; charset=utf-8"
    body = f'<a href="{html.escape(target)}">Moved Permanently</a>.\n\n'
    return bottle.HTTPResponse(body.encode(), 301, headers)


def _plain(status: int, text: str) -> bottle.HTTPResponse:
    """An error as Go's http.Error writes it."""
    if status == 304:
        return bottle.HTTPResponse(b"", status)
    return bottle.HTTPResponse(f"{text}\n".encode(), status, dict(_plain_headers()))


def _plain_headers() -> list[tuple[str, str]]:
    return [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("X-Content-Type-Options", "nosniff"),
    ]


def _place(error: BaseException) -> str:
    """The kind of an exception and the line that raised it: nothing of what it says."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "nowhere"
    return f"{type(error).__name__} at {where}"
