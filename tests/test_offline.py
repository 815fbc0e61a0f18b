"""The whole suite runs without a network, and would notice if it did not."""

import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest
import sitecustomize


@pytest.mark.parametrize("host", ["huggingface.co", "192.0.2.1", "2001:db8::1"])
def test_a_connection_to_another_machine_is_refused(host: str) -> None:
    with pytest.raises(sitecustomize.Offline, match="the tests are offline"):
        socket.create_connection((host, 443), timeout=1)


def test_a_datagram_is_refused() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        with pytest.raises(sitecustomize.Offline):
            one.sendto(b"x", ("192.0.2.1", 9))
        with pytest.raises(sitecustomize.Offline):
            one.sendmsg([b"x"], [], 0, ("192.0.2.1", 9))


@pytest.mark.parametrize(
    "look_up", [socket.gethostbyname, socket.gethostbyname_ex, socket.gethostbyaddr]
)
def test_the_address_of_another_machine_is_not_asked_for(look_up: Callable[[str], object]) -> None:
    with pytest.raises(sitecustomize.Offline):
        look_up("huggingface.co")
    assert look_up("127.0.0.1")


def test_a_message_to_this_machine_arrives() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        here.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.sendmsg([b"far"], [], 0, here.getsockname())
            one.connect(here.getsockname())
            one.sendmsg([b"near"])
        assert [here.recv(9), here.recv(9)] == [b"far", b"near"]


def test_a_download_is_refused() -> None:
    with pytest.raises((sitecustomize.Offline, urllib.error.URLError)):
        urllib.request.urlopen("http://192.0.2.1/weights", timeout=1)


def test_this_machine_can_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].close()).start()
        with socket.create_connection(server.getsockname(), timeout=10) as one:
            assert one.recv(1) == b""


def test_a_python_that_tests_start_is_offline_too() -> None:
    code = "import socket; socket.create_connection(('192.0.2.1', 9), timeout=1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "Offline" in done.stderr
    assert os.environ["PYTHONPATH"].split(os.pathsep)[0].endswith("offline")
