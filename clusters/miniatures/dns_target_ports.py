"""Wrong: sRV records give the targetPort instead of the port."""

from typing import Any

from clusters.dns import records, server

right = records._port_labels


def swapped(port: dict[str, Any]) -> tuple[str, str]:
    """The labels of the port; its number is the target's from here on."""
    port["port"] = port.get("targetPort", port["port"])
    return right(port)


def main(args: list[str]) -> int:
    """Run the DNS server with this one decision wrong."""
    records._port_labels = swapped
    return server.main(args)
