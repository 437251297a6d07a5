"""The client against answers of every kind: tried again where it helps, no traceback, never `nothing is there`."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from aifctl.cluster import client as clients
from aifctl.cluster.access import Access
from aifctl.cluster.client import APPLY, Account, Client
from aifctl.cluster.discovery import Resource
from aifctl.cluster.errors import ApiError, Unreachable
from aifctl.cluster.watch import Observer
from aifctl.diagnostics import Diagnostic
from tests.cluster.scripted import Answers, Cut, found, page, serving, status
from tests.controlplane import certificates

PATH = "/api/v1/namespaces/x/configmaps"
FINE = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}}
CONFIGS = Resource("", "v1", "ConfigMap", "configmaps", True, frozenset())


def asked(answers: Answers, act: Callable[[Client], Awaitable[Any]], patience: float = 5.0, **access: Any) -> Any:
    """What `act` makes of these answers."""

    async def run() -> Any:
        async with serving(answers) as url, Client(Access(server=url, **access), patience=patience) as client:
            return await act(client)

    return asyncio.run(run())


def told(answers: Answers, act: Callable[[Client], Awaitable[Any]], patience: float = 0.0, **access: Any) -> Diagnostic:
    """The finding that it ends with."""
    with pytest.raises((ApiError, Unreachable)) as caught:
        asked(answers, act, patience, **access)
    error = caught.value
    return error.finding() if isinstance(error, Unreachable) else error.finding("ConfigMap x/a")


async def get(client: Client) -> Any:
    return await client.get(f"{PATH}/a")


async def listed(client: Client) -> Any:
    return await client.items(PATH)


@pytest.mark.parametrize(
    "fault",
    [status(429, Retry_After="0"), status(503), status(500, "etcdserver: request timed out"), page("bad", 502), Cut()],
)
def test_what_passes_is_tried_again(fault: Any) -> None:
    answers = Answers(fault, fault, found(FINE))
    assert asked(answers, get) == FINE
    assert len(answers.requests) == 3


def test_the_servers_own_pause_is_kept() -> None:
    """It asks for more than we have patience for, so we do not ask again; a pause of ours would have been shorter."""
    answers = Answers(found(FINE), status(429, "slow down", Retry_After="25"), found(FINE))

    async def twice(client: Client) -> Any:
        return await get(client), await get(client)

    finding = told(answers, twice, patience=5.0)
    assert (finding.code, len(answers.requests)) == ("AIF703", 2)
    assert "slow down" in finding.message


@pytest.mark.parametrize("header", ["soon", "-3", "nan", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_pause_that_is_none(header: str) -> None:
    assert asked(Answers(status(429, Retry_After=header), found(FINE)), get) == FINE


FINAL = {
    "malformed": (status(500, "failed to create typed patch object (x/a; v1): .data.b: field not declared"), "AIF721"),
    "invalid": (status(422, "spec.x: Invalid value", "Invalid"), "AIF721"),
    "forbidden": (status(403, 'configmaps "a" is forbidden: User "x" cannot patch', "Forbidden"), "AIF705"),
    "quota": (status(403, "exceeded quota: compute, requested: cpu=1", "Forbidden"), "AIF722"),
    "webhook": (status(403, 'admission webhook "p.example" denied the request: no', "Forbidden"), "AIF722"),
    "webhook-of-400": (status(400, 'admission webhook "p.example" denied the request: no'), "AIF722"),
    "webhook-of-409": (status(409, 'admission webhook "p.example" denied the request: no', "Conflict"), "AIF722"),
    "policy": (status(422, "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no", "Invalid"), "AIF722"),
    "leaving": (status(403, "unable to create: namespace x is being terminated", "Forbidden"), "AIF725"),
    "namespace": (status(404, 'namespaces "x" not found', "NotFound"), "AIF723"),
    "kind": (status(404, "the server could not find the requested resource", "NotFound"), "AIF724"),
    "token": (status(401, "Unauthorized", "Unauthorized"), "AIF704"),
    "login-page": (page(), "AIF703"),
    "redirect": (page("", 302, Location="https://login.example/"), "AIF703"),
    "no-object": (found(["a"]), "AIF703"),
    "half-json": (page('{"kind": "Conf'), "AIF703"),
    "forbidding-page": (page("<html>no entry</html>", 403), "AIF705"),
}


@pytest.mark.parametrize("case", FINAL)
def test_what_is_final_is_said_at_once(case: str) -> None:
    answer, code = FINAL[case]
    answers = Answers(answer)
    finding = told(answers, lambda client: client.patch(f"{PATH}/a", APPLY, FINE), patience=5.0)
    assert finding.code == code
    assert len(answers.requests) == 1


def test_a_webhook_that_is_away_is_waited_for_and_then_named() -> None:
    message = 'Internal error occurred: failed calling webhook "p.example": connection refused'
    answers = Answers(status(500, message, "InternalError"))
    finding = told(answers, get, patience=0.5)
    assert finding.code == "AIF722"
    assert "p.example" in finding.message
    assert len(answers.requests) > 1


@pytest.mark.parametrize(
    "answer", [found({}), found({"status": "ok"}), found(FINE), page()], ids=["empty", "ok", "one", "html"]
)
def test_a_list_that_is_none_is_not_an_empty_one(answer: web.Response) -> None:
    assert told(Answers(answer), listed).code == "AIF703"


def listing(version: str, *names: str, more: str = "") -> web.Response:
    items = [{"metadata": {"name": name, "resourceVersion": version}} for name in names]
    metadata = {"resourceVersion": version, **({"continue": more} if more else {})}
    return found({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": metadata, "items": items})


def test_pages_are_joined_and_begun_anew_when_they_expire() -> None:
    pages = Answers(listing("5", "a", more="x"), listing("5", "b"))
    items, version = asked(pages, listed)
    assert ([each["metadata"]["name"] for each in items], version) == (["a", "b"], "5")
    assert {each["kind"] for each in items} == {"ConfigMap"}
    pages = Answers(listing("5", "a", more="x"), status(410, "too old", "Expired"), listing("9", "a", "b"))
    items, version = asked(pages, listed)
    assert ([each["metadata"]["name"] for each in items], version) == (["a", "b"], "9")
    assert "limit" not in pages.requests[-1].query


# Credentials


def only(token: str) -> Answers:
    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(0.05)  # all of them are on their way before the first is refused
        return found(FINE) if request.headers["Authorization"] == f"Bearer {token}" else status(401, "Unauthorized")

    return Answers(answer)


def test_a_token_that_expired_is_read_anew_once_for_all_requests() -> None:
    reloaded = []

    async def run() -> Any:
        async with serving(only("new")) as url:
            old = Access(server=url, token="old")

            def reload() -> Access:
                reloaded.append(1)
                return replace(old, token="new")

            async with Client(old, patience=0, reload=reload) as client:
                return await asyncio.gather(*(get(client) for _ in range(20)))

    assert asyncio.run(run()) == [FINE] * 20
    assert len(reloaded) == 1


def test_an_accounts_token_rotates(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old")

    async def act(client: Client) -> Any:
        file.write_text("new")
        return await get(client)

    assert asked(only("new"), act, token_file=str(file)) == FINE


@pytest.mark.parametrize("left", ["old", None])
def test_a_token_that_stays_refused(tmp_path: Path, left: str | None) -> None:
    """The same again, and none at all any more."""
    file = tmp_path / "token"
    file.write_text("old")

    async def act(client: Client) -> Any:
        file.unlink() if left is None else file.write_text(left)
        return await get(client)

    answers = only("new")
    assert told(answers, act, token_file=str(file)).code == "AIF704"
    assert len(answers.requests) == 1


def test_whom_we_act_as() -> None:
    answers = Answers(found(FINE))

    async def act(client: Client) -> None:
        await get(client)
        await get(client.acting_as(Account.of_account("vision", "deployer")))

    asked(answers, act, token="mine", user="ann", groups=("a", "b"))
    heads = [(r.headers.get("Impersonate-User"), r.headers.getall("Impersonate-Group", [])) for r in answers.requests]
    assert heads == [("ann", ["a", "b"]), ("system:serviceaccount:vision:deployer", [])]
    assert {r.headers["Authorization"] for r in answers.requests} == {"Bearer mine"}


# Servers that are not there, or not who they say


def unreachable(access: Access, patience: float = 20.0) -> Diagnostic:
    async def run() -> None:
        async with Client(access, patience=patience) as client:
            await get(client)

    with pytest.raises(Unreachable) as caught:
        asyncio.run(run())
    return caught.value.finding()


def test_a_dead_server_is_given_up_soon_unless_it_has_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "FIRST", 0.3)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{closed.getsockname()[1]}"
        assert unreachable(Access(server=server), patience=300.0).code == "AIF703"
    assert unreachable(Access(server="https://no-such-host.invalid"), patience=300.0).code == "AIF703"
    assert (
        asked(Answers(found(FINE), *[Cut()] * 4, found(FINE)), lambda c: asyncio.gather(get(c), get(c))) == [FINE] * 2
    )


def test_a_server_of_another_authority_is_not_told_anything(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        folder.mkdir()
    authority, other = certificates.authority(ours), certificates.authority(theirs)
    pair = certificates.server(other, theirs, "server")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pair.certificate, pair.key)
    answers = Answers(found(FINE))

    async def run(**access: Any) -> Any:
        async with serving(answers, tls) as url, Client(Access(server=url, **access), patience=60) as client:
            return await get(client)

    for access in ({"ca": authority.pem.decode()}, {"ca": other.pem.decode(), "server_name": "elsewhere.example"}, {}):
        with pytest.raises(Unreachable) as caught:
            asyncio.run(run(**access))
        assert caught.value.finding().code == "AIF707"
    assert not answers.requests
    assert asyncio.run(run(ca=other.pem.decode())) == FINE


def test_a_server_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "FIRST", 0.0)

    async def run() -> Diagnostic:
        async with serving(Answers(found(FINE))) as url:
            return await asyncio.to_thread(unreachable, Access(server=url.replace("http:", "https:")))

    assert asyncio.run(run()).code == "AIF703"


# Watches


def event(kind: str, name: str, version: str) -> bytes:
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "x", "resourceVersion": version},
    }
    return json.dumps({"type": kind, "object": body}).encode() + b"\n"


def test_events_come_whole_however_they_are_cut() -> None:
    whole = event("ADDED", "a", "1") + b"\n" + event("DELETED", "a", "2")
    chunks = [whole[at : at + 7] for at in range(0, len(whole), 7)]

    async def act(client: Client) -> Any:
        return [each["type"] async for each in client.watch(PATH, {})]

    assert asked(Answers(chunks), act) == ["ADDED", "DELETED"]


@pytest.mark.parametrize("rubbish", [b"<html>\n", b"[]\n", b'{"type": "ADDED"}\n', b'{"type": "ADDED", "object": 3}\n'])
def test_a_watch_that_says_rubbish_has_ended(rubbish: bytes) -> None:
    async def act(client: Client) -> Any:
        return [each async for each in client.watch(PATH, {})]

    assert told(Answers([event("ADDED", "a", "1"), rubbish]), act).code == "AIF703"


def observed(*answers: Any) -> tuple[set[str], Answers]:
    """Names that an observer knows after half a second, and what it asked for."""
    script = Answers(*answers)

    async def act(client: Client) -> set[str]:
        async with Observer(client, "a=b") as observer:
            await observer.watch([(CONFIGS, "x")])
            await asyncio.sleep(0.5)
            return {identity.name for identity in observer.objects}

    return asked(script, act), script


def space(answer: web.Response) -> web.Response:
    body = json.loads(answer.body)  # type: ignore[arg-type]
    for item in body["items"]:
        item["metadata"]["namespace"] = "x"
    return found(body)


async def silent(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await asyncio.sleep(5)
    return response


NONSENSE = b'{"type": "ADDED", "object": {"kind": "ConfigMap"}}\n'
GONE = b'{"type": "ERROR", "object": {"kind": "Status", "code": 410}}\n'


@pytest.mark.parametrize(
    "fault", [[GONE], [NONSENSE], status(410, "too old", "Expired")], ids=["gone", "nonsense", "expired"]
)
def test_an_observer_lists_anew_where_it_lost_its_place(fault: Any) -> None:
    names, script = observed(space(listing("5", "a")), fault, space(listing("9", "b")), silent)
    assert names == {"b"}
    assert [request.query.get("resourceVersion") for request in script.requests] == [None, "5", None, "9"]


def test_an_observer_goes_on_where_its_stream_was_cut() -> None:
    names, script = observed(space(listing("5", "a")), [event("ADDED", "b", "6")], silent)
    assert names == {"a", "b"}
    assert [request.query.get("resourceVersion") for request in script.requests] == [None, "5", "6"]


def test_streams_that_end_at_once_are_not_asked_for_without_a_pause() -> None:
    _, script = observed(space(listing("5", "a")), [b""])
    assert len(script.requests) <= 5
