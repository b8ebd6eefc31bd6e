"""API objects as frozen, checked values. All doubt about what the API sent ends in this room.

``parse_service``, ``parse_slice`` and ``parse_node`` are total: any bytes give a value or
:class:`ObjectError`.
"""

from implementation.objects.fields import ObjectError
from implementation.objects.node import Node, parse_node
from implementation.objects.service import Service, ServicePort, parse_service
from implementation.objects.slice import EndpointSlice, SliceEndpoint, SlicePort, parse_slice

__all__ = [
    "EndpointSlice",
    "Node",
    "ObjectError",
    "Service",
    "ServicePort",
    "SliceEndpoint",
    "SlicePort",
    "parse_node",
    "parse_service",
    "parse_slice",
]
