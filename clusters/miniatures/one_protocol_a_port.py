"""Wrong: tCP and UDP of one Service cannot have the same node port."""

from clusters.apiserver import http
from clusters.apiserver.allocation import PORT_ALLOCATED, Transaction
from clusters.apiserver.service_allocation import Allocator
from clusters.apiserver.service_fields import Spec
from clusters.apiserver.service_ports import SERVICE
from clusters.apiserver.status import invalid, invalid_object

right = Allocator.create


def apart(self: Allocator, key: str, new: Spec, dry_run: bool) -> Transaction:
    """A Service whose ports have a node port each."""
    numbers = [port["nodePort"] for port in new.get("ports", ()) if port.get("nodePort")]
    if len(set(numbers)) < len(numbers):
        wrong = invalid("spec.ports[1].nodePort", numbers[1], PORT_ALLOCATED)
        raise invalid_object(SERVICE, key.partition("/")[2], [wrong])
    return right(self, key, new, dry_run)


def main(args: list[str]) -> int:
    """Run the API server with this one decision wrong."""
    Allocator.create = apart  # type: ignore[method-assign]
    return http.main(args)
