"""Refuses every connection that leaves this machine, in the server and its kernels, and writes down who tried."""

import os
import sys
from pathlib import Path

LOG = os.environ.get("WORKBENCH_NETWORK_LOG")
LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0")


def _refuse(event, arguments):
    if event == "socket.connect":
        address = arguments[1]
    elif event == "socket.getaddrinfo":
        address = arguments
    else:
        return
    host = address[0] if isinstance(address, tuple) else None  # a path is a Unix socket
    if isinstance(host, bytes):
        host = host.decode()
    if host is None or host == "" or host.startswith(LOOPBACK):
        return
    with Path(str(LOG)).open("a", encoding="utf-8") as file:
        file.write(f"{event} {host} {sys.argv[:3]}\n")
    raise ConnectionRefusedError(f"the browser tests allow no network: {host}")


if LOG:
    sys.addaudithook(_refuse)
