"""The keys of the heartbeats: from the Secret ``memberlist`` that MetalLB's users make, else from one of
our own.
"""

from __future__ import annotations

import base64
import binascii
from hashlib import sha256

import msgspec

USER_SECRET = "memberlist"
OWN_SECRET = "loadbalancer-heartbeat"
FIELD = "secretkey"


class _Secret(msgspec.Struct):
    data: dict[str, str] | None = None


_decoder = msgspec.json.Decoder(_Secret)


def key_of(raw: bytes | msgspec.Raw) -> bytes | None:
    """The 32-byte key in this Secret's ``secretkey``, or None where it holds none (any length of text will
    do).
    """
    try:
        text = (_decoder.decode(raw).data or {}).get(FIELD, "")
        secret = base64.b64decode(text, validate=True)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, binascii.Error, ValueError):
        return None
    return sha256(b"loadbalancer heartbeat 1\n" + secret).digest() if secret else None
