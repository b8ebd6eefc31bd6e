"""Wrong: a Service's families are sorted, IPv4 first, whatever it asked for."""

from collections.abc import Sequence

from clusters.apiserver import http, service_allocation
from clusters.apiserver.service_families import settle_families
from clusters.apiserver.service_fields import Spec
from clusters.apiserver.status import FieldError


def in_order(new: Spec, old: Spec | None, cluster: Sequence[str]) -> list[FieldError]:
    """The right families in the wrong order."""
    wrong = settle_families(new, old, cluster)
    if "ipFamilies" in new:
        new["ipFamilies"] = sorted(new["ipFamilies"])
    return wrong


def main(args: list[str]) -> int:
    """Run the API server with this one decision wrong."""
    vars(service_allocation)["settle_families"] = in_order
    return http.main(args)
