"""What a server states is read as data, within bounds, and from nowhere else."""

from __future__ import annotations

import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing_platform.facts.connectors import http
from pricing_platform.facts.connectors.http import HttpConnector
from pricing_platform.facts.connectors.http_facts import HttpFacts
from pricing_platform.facts.refresh import Answer, DueSeries, Validators
from pricing_platform.retrieval.documents import normalise_subject
from pricing_platform_tests.unit.facts.fact_server import FactServer, Reply, serve

HOST = frozenset({"127.0.0.1"})


@pytest.fixture
def server() -> Iterator[FactServer]:
    with serve(FactServer()) as found:
        yield found


def declared(url: str, **options: Any) -> HttpFacts:
    reading = {} if "html_selector" in options else {"json_path": "$.value"}
    given = {
        "name": "shop",
        "subjects": ("acme",),
        "attribute": "ceo",
        "allowed_private_hosts": HOST,
        "timeout_seconds": 5,
    }
    return HttpFacts(**{**given, "url": url, **reading, **options})


def due(subject: str = "acme", validators: Validators | None = None, number: int = 1) -> DueSeries:
    return DueSeries(number, subject, "ceo", "office_holder", "http:shop", (), validators)


def ask(facts: HttpFacts, series: DueSeries | None = None, **secrets: str) -> Answer:
    given = {name: pydantic.SecretStr(value) for name, value in secrets.items()}
    (answer,) = HttpConnector(facts, given).ask([series or due()])
    return answer


def answered(server: FactServer, reply: Reply, **options: Any) -> Answer:
    server.replies["/page"] = reply
    return ask(declared(f"{server.url}/page", **options))


@pytest.mark.parametrize(
    ("body", "values"),
    [
        (b'{"value": "Ann  Lee\\n"}', ("Ann Lee",)),
        (b'{"value": 1.50}', ("1.50",)),
        (b'{"value": 12}', ("12",)),
        (b'{"value": true}', ("true",)),
        (b'{"value": ["b", "a", "b"]}', ("b", "a")),
        (b'{"value": null}', ()),
        (b'{"value": " "}', ()),
        (b'{"value": []}', ()),
        (b'{"value": "a\\u0000b \\ud800"}', ("a b ?",)),
        ('{"value": "Zoë"}'.encode("utf-16"), ("Zoë",)),
    ],
)
def test_values_of_json_are_as_they_are_written(
    server: FactServer, body: bytes, values: tuple[str, ...]
) -> None:
    found = answered(server, Reply(body=body))
    assert (found.failure, found.values) == (None, values)
    assert found.source == "http:shop"
    assert found.seconds > 0


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(body=b"{"), "not JSON"),
        (Reply(body=b""), "not JSON"),
        (Reply(body=b'{"value": NaN}'), "not JSON"),
        (Reply(body=b"\xff\xfe\xfd"), "not JSON"),
        (Reply(body=b"[" * 200_000), "not JSON"),
        (Reply(body=b'{"other": 1}'), r"nothing at \$.value"),
        (Reply(body=b"[]"), r"nothing at \$.value"),
        (Reply(body=b'{"value": {"name": "Ann"}}'), "not a value"),
        (Reply(body=b'{"value": "' + b"x" * 501 + b'"}'), "501 characters, and 500 are allowed"),
        (Reply(body=b'{"value": %s}' % str([*range(101)]).encode()), "101 values"),
        (Reply(body=b"x" * 1_000_001), "more than 1,000,000 bytes"),
        (Reply(500), "status 500"),
        (Reply(403), "status 403"),
        (Reply(204), "status 204"),
        (Reply(304), "status 304"),
        (Reply(302), "does not say where"),
        (Reply(302, headers={"Location": "/page"}), "more than 5 times"),
        (Reply(302, headers={"Location": "ftp://127.0.0.1/x"}), "other than a web server"),
        (Reply(302, headers={"Location": "http://[::"}), "what is no URL"),
        (Reply(body=b"{}", headers={"Content-Encoding": "gzip"}), "compressed"),
    ],
)
def test_what_is_not_an_answer_is_a_failure(server: FactServer, reply: Reply, reason: str) -> None:
    found = answered(server, reply)
    assert found.values is None
    assert found.failure is not None
    assert re.search(reason, found.failure), found.failure


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_gone_is_absent(server: FactServer, status: int) -> None:
    found = answered(server, Reply(status))
    assert (found.failure, found.values) == (None, ())


def test_a_page_is_read_by_a_selector(server: FactServer) -> None:
    page = "<html><h1>Acme</h1><p class=ceo>Zoë <b>Lee</b></p><p class=none></p></html>"
    reply = Reply(
        body=page.encode("latin-1"), headers={"Content-Type": "text/html; charset=latin-1"}
    )
    assert answered(server, reply, html_selector="p.ceo").values == ("Zoë Lee",)
    assert "no text at p.cfo" in str(answered(server, reply, html_selector="p.cfo").failure)
    assert "no text" in str(answered(server, reply, html_selector="p.none").failure)


def test_a_server_is_told_what_was_recorded_last(server: FactServer) -> None:
    server.facts["acme"] = "Ann"
    facts = declared(f"{server.url}/facts/{{subject}}")
    first = ask(facts)
    assert first.values == ("Ann",)
    again = ask(facts, due(validators=first.validators))
    assert (again.values, again.failure, again.validators) == (None, None, None)
    server.facts["acme"] = "Bob"
    assert ask(facts, due(validators=first.validators)).values == ("Bob",)


def test_both_validators_are_sent_back_and_only_for_the_same_question(server: FactServer) -> None:
    modified = format_datetime(datetime(2026, 1, 2, tzinfo=UTC), usegmt=True)
    reply = Reply(body=b'{"value": 1}', headers={"ETag": 'W/"1"', "Last-Modified": modified})
    first = answered(server, reply)
    assert first.validators is not None
    assert (first.validators.etag, first.validators.last_modified) == ('W/"1"', modified)
    facts = declared(f"{server.url}/page")
    ask(facts, due(validators=first.validators))
    sent = server.requests[-1][1]
    assert (sent["if-none-match"], sent["if-modified-since"]) == ('W/"1"', modified)
    ask(facts.model_copy(update={"json_path": "$['value']"}), due(validators=first.validators))
    assert not {"if-none-match", "if-modified-since"} & set(server.requests[-1][1])


@pytest.mark.parametrize("drips", [False, True])
def test_a_slow_server_is_left_in_time(server: FactServer, drips: bool) -> None:
    started = time.monotonic()
    reply = Reply(body=b'{"value": "Ann Lee of Acme"}', pause=0.1 if drips else 5.0, drips=drips)
    found = answered(server, reply, timeout_seconds=0.4)
    assert "within 0.4 seconds" in str(found.failure)
    assert time.monotonic() - started < 3


def test_a_server_that_is_not_there_is_a_failure() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    assert "can't be connected to" in str(ask(declared(f"http://127.0.0.1:{port}/")).failure)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("120", 120), ("9" * 40, 999_999_999), ("soon", None), ("-5", None), ("²", None)],
)
def test_retry_after_in_seconds(server: FactServer, header: str, seconds: int | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert http._retry_after(header) == expected
    if header.isascii():
        found = answered(server, Reply(429, headers={"Retry-After": header}))
        assert (found.failure, found.retry_after) == ("It answered with status 429.", expected)


def test_retry_after_as_a_date() -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    found = http._retry_after(until)
    assert found is not None
    assert timedelta(minutes=59) < found <= timedelta(hours=1)
    assert http._retry_after("Fri, 02 Jan 1970 00:00:00 GMT") == timedelta(0)


def test_redirects_are_followed_on_the_same_host(server: FactServer) -> None:
    server.replies["/new"] = Reply(body=b'{"value": "Ann"}')
    assert answered(server, Reply(301, headers={"Location": "/new"})).values == ("Ann",)


def test_redirects_to_others_are_refused_and_nobody_is_asked(server: FactServer) -> None:
    headers = {"X-Key": "${KEY}"}
    with serve(FactServer()) as other:
        for target in (other.url, other.url.replace("127.0.0.1", "localhost")):
            server.replies["/page"] = Reply(302, headers={"Location": f"{target}/page"})
            facts = declared(f"{server.url}/page", headers=headers)
            assert "is not followed" in str(ask(facts, KEY="secret").failure)
        assert other.requests == []
    assert [sent["x-key"] for _, sent in server.requests] == ["secret", "secret"]


def test_an_encrypted_connection_is_not_given_up() -> None:
    url = httpx2.URL("https://example.com/a")
    with pytest.raises(http._RequestError, match="not be encrypted"):
        http._redirected(url, "http://example.com/a")
    assert http._redirected(httpx2.URL("http://example.com/a"), "https://example.com/b")
    with pytest.raises(http._RequestError, match="another port"):
        http._redirected(url, "https://example.com:8443/a")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.1", "2130706433"])
def test_private_addresses_are_refused_unless_the_host_is_named(
    server: FactServer, host: str
) -> None:
    url = server.url.replace("127.0.0.1", host)
    found = ask(declared(f"{url}/page", allowed_private_hosts=frozenset({"other"})))
    assert "private address" in str(found.failure)
    assert server.requests == []


def test_a_host_may_be_allowed_by_its_name(server: FactServer) -> None:
    server.facts["acme"] = "Ann"
    url = server.url.replace("127.0.0.1", "localhost")
    facts = declared(f"{url}/facts/acme", allowed_private_hosts=frozenset({"LocalHost"}))
    assert ask(facts).values == ("Ann",)


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "224.0.0.1",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "::7f00:1",
        "::93.184.216.34",
        "fec0::1",
        "feff::1",
        "64:ff9b:1::1",
        "64:ff9b:1:ffff::808:808",
        "192.88.99.1",
        "::ffff:192.88.99.255",
    ],
)
def test_these_addresses_are_private(address: str) -> None:
    assert not http._is_public(address)


def test_these_addresses_are_public() -> None:
    assert all(map(http._is_public, ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::808:808"]))


def test_a_name_is_resolved_once_and_connected_to_where_it_was_checked(
    server: FactServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that means another address when it is looked up again gains nothing."""
    server.replies["/page"] = Reply(body=b'{"value": "Ann"}')
    looked_up = []

    async def resolve(host: str, port: int | None, **_options: object) -> list[Any]:
        looked_up.append(host)
        assert len(looked_up) == 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(anyio, "getaddrinfo", resolve)
    port = server.url.rpartition(":")[2]
    url = f"http://facts.example:{port}/page"
    assert ask(declared(url, allowed_private_hosts=frozenset({"facts.example"}))).values == ("Ann",)
    assert looked_up == ["facts.example"]
    assert server.requests[0][1]["host"] == f"facts.example:{port}"
    looked_up.clear()
    assert "private address" in str(ask(declared(url)).failure)


def test_secrets_go_in_headers_and_into_no_message(
    server: FactServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = declared(f"{server.url}/page", headers={"Authorization": "Bearer ${SHOP_KEY}"})
    server.replies["/page"] = Reply(401)
    found = ask(facts, SHOP_KEY="secret")
    assert server.requests[-1][1]["authorization"] == "Bearer secret"
    assert "secret" not in repr(found)
    assert "secret" not in str(ask(facts, SHOP_KEY="secret\r\nX: y").failure)
    asked = len(server.requests)
    monkeypatch.setenv("SHOP_KEY", "other")  # settings alone read the environment
    failure = ask(facts).failure
    assert failure == "A header needs SHOP_KEY, which PRICING_HTTP_SECRETS does not hold."
    assert len(server.requests) == asked
    assert "${SHOP_KEY}" not in repr(facts)


def test_a_subject_is_one_part_of_the_address(server: FactServer) -> None:
    written = "A/B ?#&É%2F"
    subject = normalise_subject(written)
    server.facts |= {subject: "Ann", written: "Bob"}
    facts = declared(f"{server.url}/facts/{{subject}}", subjects=(written,))
    assert ask(facts, due(subject)).values == ("Bob",)  # as it was declared
    assert ask(facts.model_copy(update={"subjects": ("x",)}), due(subject)).values == ("Ann",)


def test_no_more_are_asked_at_once_than_allowed(server: FactServer) -> None:
    running, most = 0, 0

    def behaviour(subject: str, _time: int) -> None:
        nonlocal running, most
        with server.mutex:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with server.mutex:
            running -= 1

    server.behaviour = behaviour
    facts = declared(f"{server.url}/facts/{{subject}}", concurrency=3)
    answers = list(HttpConnector(facts).ask([due(f"s{n}", number=n) for n in range(12)]))
    assert sorted(answer.series_id for answer in answers) == list(range(12))
    assert most == 3


def test_nothing_more_is_asked_when_nobody_waits(server: FactServer) -> None:
    server.behaviour = lambda _subject, _time: Reply(200, pause=0.05)
    facts = declared(f"{server.url}/facts/{{subject}}", concurrency=1)
    answers = HttpConnector(facts).ask([due(f"s{n}", number=n) for n in range(100)])
    next(answers)
    before = threading.active_count()
    answers.close()
    assert threading.active_count() < before
    asked = len(server.requests)
    time.sleep(0.2)
    assert len(server.requests) <= asked + 1 < 10


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of 127.0.0.1 that nobody vouches for but itself."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    path = tmp_path / "certificate.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-keyout", tmp_path / "key.pem", "-out", path, "-subj", "/CN=facts"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return path


def test_a_certificate_is_verified(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    with serve(FactServer(facts={"acme": "Ann"}), context) as server:
        facts = declared(f"{server.url}/facts/acme")
        named = facts.model_copy(
            update={
                "url": facts.url.replace("127.0.0.1", "localhost"),
                "allowed_private_hosts": frozenset({"localhost"}),
            }
        )
        assert "certificate" in str(ask(facts).failure).lower()
        assert server.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert ask(facts).values == ("Ann",)
        assert "certificate" in str(ask(named).failure).lower()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"url": "ftp://example.com/"}, "begin with https"),
        ({"url": "file:///etc/passwd"}, "begin with https"),
        ({"url": "https://user:secret@example.com/"}, "user or password"),
        ({"url": "https://{subject}.example.com/"}, "not in the host"),
        ({"subjects": ("acme", "other")}, "needs {subject}"),
        ({"subjects": ()}, "at least 1 item"),
        ({"subjects": ("...",)}, "no letter"),
        ({"json_path": None}, "either json_path or html_selector"),
        ({"json_path": "$[?"}, "not a JSON path"),
        ({"json_path": None, "html_selector": "p["}, "not a CSS selector"),
        ({"headers": {"Host": "x"}}, "set by the request itself"),
        ({"headers": {"X Y": "x"}}, "pattern"),
        ({"verify": False}, "Extra inputs"),
        ({"name": "My shop"}, "pattern"),
    ],
)
def test_a_wrong_declaration_is_told(wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(pydantic.ValidationError) as raised:
        declared(**{"url": "https://example.com/", **wrong})
    assert reason in str(raised.value)


@given(
    st.binary(max_size=400)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ).map(lambda value: json.dumps({"value": value}).encode())
)
def test_any_response_is_read_or_refused(body: bytes) -> None:
    response = http._Response(200, httpx2.Headers({"content-type": "text/html"}), body)
    for facts in (
        declared("https://example.com/"),
        declared("https://example.com/", html_selector="p, b"),
    ):
        values: list[str] = []
        with suppress(http._RequestError):
            values = [http._plain(value) for value in HttpConnector(facts)._values(response)]
        for value in values:
            assert 0 < len(value) <= 500
            assert value == " ".join(value.split())
            assert "\0" not in value.encode().decode()
