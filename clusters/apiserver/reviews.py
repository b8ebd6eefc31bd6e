"""Who may: bearer tokens, and the questions that are answered and not stored. Pure; clock handed in.

Everybody with a token may do everything here: a cluster of this kind has one sort of user, its owner. Tokens
of ServiceAccounts (TokenRequest) are JSON web tokens, signed with a secret of this run, good until they end.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Mapping
from typing import Any

import msgspec

from clusters.apiserver.status import bad_request

Object = dict[str, Any]
_ALL = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
_ALL_PATHS = {"verbs": ["*"], "nonResourceURLs": ["*"]}
_SHORTEST, _USUAL, _LONGEST = 600, 3600, 1 << 32  # seconds a token may be asked for
_AUDIENCE = "https://kubernetes.default.svc.cluster.local"


def _part(value: Any) -> str:
    data = value if isinstance(value, bytes) else msgspec.json.encode(value)
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Tokens:
    """The tokens that let somebody in: those given at the start, and those issued since, by ``secret``."""

    def __init__(self, given: Mapping[str, Any], secret: bytes = b"") -> None:
        self._given = dict(given)
        self._secret = secret or secrets.token_bytes(32)

    def user(self, token: str, now: float) -> Mapping[str, Any] | None:
        """Whose token it is, or None for one that nobody gave out or that has ended."""
        found: Mapping[str, Any] | None = self._given.get(token)
        return found if found is not None else self._issued_to(token, now)

    def _issued_to(self, token: str, now: float) -> Mapping[str, Any] | None:
        body, _, signature = token.rpartition(".")
        if not hmac.compare_digest(self._signature(body).encode(), signature.encode("utf-8", "replace")):
            return None
        claims = body.partition(".")[2]
        told = msgspec.json.decode(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        if told["exp"] <= now:
            return None
        namespace = told["kubernetes.io"]["namespace"]
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
        return {"user": told["sub"], "groups": groups}

    def _signature(self, body: str) -> str:
        return _part(hmac.digest(self._secret, body.encode("utf-8", "replace"), "sha256"))

    def issue(self, namespace: str, account: Object, seconds: int, now: float) -> tuple[str, float]:
        """A token of a ServiceAccount, and when it ends (seconds since 1970)."""
        metadata, ends = account["metadata"], now + seconds
        claims = {
            "iss": _AUDIENCE,
            "aud": [_AUDIENCE],
            "sub": f"system:serviceaccount:{namespace}:{metadata['name']}",
            "iat": int(now),
            "exp": int(ends),
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
            },
        }
        body = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}"
        return f"{body}.{self._signature(body)}", ends


def seconds_asked(request: Any) -> int:
    """For how long a TokenRequest wants its token. Refused 400 for no length of time."""
    spec = request.get("spec") if isinstance(request, dict) else None
    seconds = spec.get("expirationSeconds") if isinstance(spec, dict) else None
    if seconds is None:
        return _USUAL
    if not isinstance(seconds, int) or not _SHORTEST <= seconds <= _LONGEST:
        raise bad_request(
            f"spec.expirationSeconds: Invalid value: {seconds}: may not be less than 10 minutes, in seconds"
        )
    return seconds


def answer(kind: str, asked: Any, user: Mapping[str, Any], tokens: Tokens, now: float) -> Object:
    """The status that answers a review of a kind. ``user``: who asks. Refused 400 for what is no review."""
    if not isinstance(asked, dict):
        raise bad_request(f"a {kind} was expected")
    if kind == "SelfSubjectRulesReview":
        return {"resourceRules": [_ALL], "nonResourceRules": [_ALL_PATHS], "incomplete": False}
    if kind == "SelfSubjectReview":
        return {"userInfo": _info(user)}
    if kind == "TokenReview":
        spec = asked.get("spec")
        found = tokens.user(str(spec.get("token", "")), now) if isinstance(spec, dict) else None
        return {"authenticated": True, "user": _info(found)} if found else {"authenticated": False}
    return {"allowed": True, "reason": "every user of this cluster may do everything"}


def _info(user: Mapping[str, Any]) -> Object:
    return {"username": user.get("user", ""), "groups": list(user.get("groups") or ())}
