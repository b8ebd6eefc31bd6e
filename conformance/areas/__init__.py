"""The requirements, one behaviour a file, one folder an area; areas know nothing of each other."""

from __future__ import annotations

import importlib
import pkgutil


def load_areas() -> None:
    """Import every file of every area, which registers its requirements; doing it again does nothing."""
    for found in pkgutil.walk_packages(__path__, f"{__name__}."):
        importlib.import_module(found.name)
