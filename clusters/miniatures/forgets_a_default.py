"""Wrong: internalTrafficPolicy is left empty where nothing is said."""

from clusters.apiserver import admission, http
from clusters.apiserver.service_fields import Spec, with_defaults


def without_one(spec: Spec) -> Spec:
    """The defaults, but for one that was not given."""
    made = with_defaults(spec)
    if "internalTrafficPolicy" not in spec:
        made.pop("internalTrafficPolicy", None)
    return made


def main(args: list[str]) -> int:
    """Run the API server with this one decision wrong."""
    vars(admission)["with_defaults"] = without_one
    return http.main(args)
