"""The whole suite runs without a network, and would notice if it did not."""

import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pytest
import sitecustomize


@pytest.mark.parametrize("host", ["huggingface.co", "192.0.2.1", "2001:db8::1"])
def test_a_connection_to_another_machine_is_refused(host: str) -> None:
    with pytest.raises(sitecustomize.Offline, match="the tests are offline"):
        socket.create_connection((host, 443), timeout=1)


def test_a_datagram_is_refused() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        pytest.raises(sitecustomize.Offline),
    ):
        one.sendto(b"x", ("192.0.2.1", 9))


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
