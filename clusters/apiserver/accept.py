"""The Accept header: in which form an answer is wanted. Pure and total.

Only JSON is spoken. A client that prefers protobuf and takes JSON as well gets JSON.
"""

from __future__ import annotations

from dataclasses import dataclass

from clusters.apiserver.status import Refused

_JSON = {"application/json", "application/*", "*/*"}
_FORMS = {"Table", "PartialObjectMetadata", "PartialObjectMetadataList"}


@dataclass(frozen=True)
class Form:
    """The form of an answer: ``kind`` is empty for the objects themselves, else what they become."""

    kind: str = ""
    version: str = "v1"


def accepted(header: str) -> Form:
    """The first form of the header that this server can give. Refused 406 when there is none."""
    if not header.strip():
        return Form()
    for entry in header.split(","):
        media, *rest = (word.strip() for word in entry.split(";"))
        if media.lower() not in _JSON:
            continue
        told = dict(pair.partition("=")[::2] for pair in rest)
        kind = told.get("as", "")
        if not kind:
            return Form()
        if kind in _FORMS and told.get("g") == "meta.k8s.io" and told.get("v") in {"v1", "v1beta1"}:
            return Form(kind, told["v"])
    raise Refused(
        406,
        "NotAcceptable",
        "only the following media types are accepted: application/json, "
        "application/json;as=Table;v=v1;g=meta.k8s.io, "
        "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    )
