"""The names that a server goes by, against pages that make their own name point here."""

from __future__ import annotations

import ipaddress


def host_name(host: str) -> str:
    """Return the name in a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().rstrip(".")


def is_address(host: str) -> bool:
    """Tell whether a host's name is an address, which nobody can make point elsewhere."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
