"""Wrong: the clusterIP of a Service may be changed."""

from clusters.apiserver import http, service_updates
from clusters.apiserver.service_fields import Spec
from clusters.apiserver.status import FieldError


def movable(after: Spec, before: Spec) -> list[FieldError]:
    """Nothing is wrong with another address."""
    del after, before
    return []


def main(args: list[str]) -> int:
    """Run the API server with this one decision wrong."""
    service_updates._frozen_addresses = movable
    return http.main(args)
