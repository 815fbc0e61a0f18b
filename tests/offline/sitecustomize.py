"""No connection but to this machine: imported by `conftest` and by every Python that tests start.

Python imports a module of this name from PYTHONPATH at its start.
"""

import ipaddress
import socket
from typing import Any

HERE = {"", "localhost", "0.0.0.0", "::", socket.gethostname()}


class Offline(RuntimeError):
    """The tests tried to reach a network."""


def is_here(host: Any) -> bool:
    """Whether the host is this machine, by name or loopback address."""
    if host is None or host in HERE:
        return True
    try:
        return ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return False


def _refuse(host: Any) -> None:
    if not is_here(host):
        raise Offline(f"the tests are offline, and something asked for {host!r}")


def block() -> None:
    """Let sockets reach loopback and Unix domain addresses only."""
    if getattr(socket, "bench_is_offline", False):
        return
    socket.bench_is_offline = True  # type: ignore[attr-defined]
    for name, place in (("connect", 0), ("connect_ex", 0), ("sendto", -1), ("sendmsg", 3)):
        _guard(name, place)
    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr"):
        _guard_look_up(name)


def _guard_look_up(name: str) -> None:
    original = getattr(socket, name)

    def guarded(host: Any, *args: Any, **kwargs: Any) -> Any:
        _refuse(host.decode() if isinstance(host, bytes) else host)
        return original(host, *args, **kwargs)

    setattr(socket, name, guarded)


def _guard(name: str, place: int) -> None:
    original = getattr(socket.socket, name)

    def guarded(self: socket.socket, *args: Any) -> Any:
        # A message without an address goes where the socket was allowed to connect to.
        address = args[place] if place < len(args) else None
        if address is not None and self.family != getattr(socket, "AF_UNIX", None):
            _refuse(address[0])
        return original(self, *args)

    setattr(socket.socket, name, guarded)


block()
