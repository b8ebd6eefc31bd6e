"""Requirements on what many objects and many changes cost."""
