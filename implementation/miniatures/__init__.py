"""Proxies that are wrong in exactly one decision, to prove that the judge notices.

Each replaces one pure function of the reference and is otherwise the reference itself.
"""
