"""What listens and what is reached: refused before anything opens a port that others could use."""

import http.client
import ssl
from pathlib import Path

import psutil
import pytest

from certificates import Authority
from pipeline import config
from pipeline.compute.choose import Choice
from pipeline.compute.local import free_port
from pipeline.compute.scheduler import start
from pipeline.compute.site import Site
from pipeline.errors import ConfigError
from pipeline.modes import Kind
from pipeline.network import is_loopback

BASE = Path(__file__).parents[1] / "conf" / "base.yaml"
FILES = "{ca: a.pem, certificate: b.pem, key: c.pem}"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]"])
def test_this_machine_has_many_names(host):
    """Whatever never leaves it."""
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "127.0.0.1.example", "localhost.example", ""])
def test_other_machines_are_not_taken_for_this_one(host):
    """Nor names that look like it."""
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["scheduler.address=tcp://10.0.0.1:8786"], "tls:// expected, since 10.0.0.1 is not this machine"),
        (["scheduler.address=tcp://localhost.example:8786"], "tls:// expected"),
        (["scheduler.address=tls://head:8786"], "scheduler.tls.ca, .certificate and .key expected with it"),
        (["scheduler.address=head:8786"], "an address like tls://host:8786 expected"),
        (["scheduler.address=tls://head:0", f"scheduler.tls={FILES}"], "an address like tls://host:8786 expected"),
        (["scheduler.address=tcp://127.0.0.1:8786", "scheduler.kind=threads"], "scheduler.kind is threads"),
        (
            ["scheduler.address=tcp://127.0.0.1:8786", "scheduler.cluster={class: x.Y}"],
            "null expected, since scheduler.address names a running one",
        ),
        (["scheduler.cluster={class: Cluster}"], "a class with its module"),
        (["scheduler.cluster={scale: 2}"], "{class: package.module.Class, ...} expected"),
        (
            ["scheduler.cluster={class: x.Y, scale: 2, adapt: {minimum: 0, maximum: 2}}"],
            "scale or adapt expected, not both",
        ),
        (["scheduler.tls={ca: a.pem}"], "ca, certificate and key expected together"),
        (["scheduler.timeout=0"], "scheduler.timeout"),
        (["dashboard.expose=true"], "dashboard.certificate and dashboard.key expected too"),
        (["dashboard.expose=true", "dashboard.certificate=a.pem"], "dashboard.certificate and dashboard.key"),
        (["dashboard.certificate=pyproject.toml"], "certificate and key expected together, or none of them"),
        (["dashboard.key=pyproject.toml"], "certificate and key expected together, or none of them"),
        (
            ["dashboard.certificate=nowhere.pem", "dashboard.key=pyproject.toml"],
            "dashboard.certificate is 'nowhere.pem'; a file that is there and can be read expected",
        ),
        (["dashboard.certificate=pyproject.toml", "dashboard.key=conf"], "dashboard.key is 'conf'; a file that is"),
        (["dashboard.port=0"], "dashboard.port"),
        (["dashboard.port=65536"], "dashboard.port"),
    ],
)
def test_settings_that_would_open_a_door_or_contradict_are_refused(arguments, complaint):
    """With the setting's name and what is expected instead."""
    with pytest.raises(ConfigError) as refused:
        config.load(BASE, arguments, {})

    assert complaint in str(refused.value)


def read(port: int, path: str, authority: Authority, **headers: str) -> int:
    """Return the status of a page, read over https."""
    context = ssl.create_default_context(cafile=str(authority.ca))
    context.check_hostname = False
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_an_exposed_dashboard_is_https_and_nothing_else_is_exposed(tmp_path):
    """Other machines see the pages, encrypted; scheduler and workers stay with this machine, and foreign sites out."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("web")
    site = Site(port=free_port(23_000), certificate=certificate, key=key, expose=True)
    websocket = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    websocket["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="  # the sample of RFC 6455
    with start(Choice(Kind.DISTRIBUTED, 1, ""), dashboard=True, site=site) as scheduler:
        port = scheduler.client.cluster.scheduler.http_server.port
        page = read(port, "/status", authority)
        foreign = read(port, "/status/ws", authority, Origin="https://elsewhere.example", **websocket)
        everyone = [psutil.Process(), *psutil.Process().children(recursive=True)]
        ports = [each for process in everyone for each in process.net_connections("inet") if each.status == "LISTEN"]

    assert scheduler.link.startswith("https://")
    assert scheduler.link.endswith(f":{port}/status")
    assert page == 200
    assert foreign == 403
    assert {each.laddr.port for each in ports if each.laddr.ip != "127.0.0.1"} == {port}
