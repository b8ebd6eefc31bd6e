"""A request's body, from the forms this server reads: JSON, YAML, Kubernetes' protobuf. Pure and total."""

from __future__ import annotations

from typing import Any

import yaml

from clusters.apiserver import protobuf
from clusters.apiserver.shapes import parse_json
from clusters.apiserver.status import Refused, bad_request, unsupported_media

JSON, YAML = "application/json", "application/yaml"
READ = (JSON, YAML, protobuf.MEDIA_TYPE)


class _Loader(yaml.SafeLoader):
    """YAML with JSON's values only: a date stays the text it is."""


_Loader.yaml_implicit_resolvers = {
    sign: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for sign, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_yaml(data: bytes) -> Any:
    """One YAML document (JSON is one, too). Refused 400 for bad YAML, for anchors, and for several documents.

    Anchors are refused because few bytes of them can unfold to any size.
    """
    if data.lstrip()[:1] in {b"{", b"["}:
        try:
            return parse_json(data)
        except Refused:
            pass  # YAML's own flow style begins alike
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(data, Loader=_Loader)):
            raise bad_request("the object provided is unrecognized: YAML anchors are not taken: write it out")
        return yaml.load(data, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError, UnicodeDecodeError) as error:
        words = " ".join(str(error).split())
        raise bad_request(f"the object provided is unrecognized: the body is not YAML: {words}") from None


def parse_body(content_type: str, data: bytes) -> Any:
    """The value of a body; None when it is empty. Refused: 400 malformed, 415 another form."""
    if not data.strip():
        return None
    if content_type == protobuf.MEDIA_TYPE:
        return protobuf.decode(data)
    if content_type == YAML:
        return parse_yaml(data)
    if content_type != JSON:
        raise unsupported_media(READ)
    return parse_json(data)
