"""Services that are another name, and become one or cease to be."""
