"""Wrong: a slice of IPv6 endpoints loses its last one as it is stored."""

from clusters.apiserver import admission, http, kinds
from clusters.apiserver.kinds import Object


def with_one_less(obj: Object) -> None:
    """The right defaults, and one endpoint less."""
    kinds.default_endpoint_slice(obj)
    if obj.get("addressType") == "IPv6":
        obj["endpoints"] = obj["endpoints"][:-1]


def main(args: list[str]) -> int:
    """Run the API server with this one decision wrong."""
    vars(admission)["_DEFAULTS"]["EndpointSlice"] = with_one_less
    return http.main(args)
