"""What rows of ci/bench/proxy must hold, and which do not. Pure.

A row is {"metric", "size", "against", "ours", "peer", "ratio", "unit", …}; the figures are the project's.
"""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]

NFTABLES = "kube-proxy nftables"
FEW, MANY = 100, 44_000  # Services between which a first packet's time must be flat
# What must hold: metric, size → ours at most, and how many times better than kube-proxy nftables at least.
BARS = {("cold_start", 10_000): (1.2, 10), ("listed", 10_000): (0.4, 0), ("change", 10_000): (1.5, 500),
        ("change_p99", 10_000): (8, 0), ("cpu_change", 10_000): (1e9, 500), ("rss", 10_000): (130, 1),
        ("listed", 44_000): (2.5, 0), ("change_p99", 44_000): (10, 0), ("listed", 100_000): (6, 0),
        ("change_p99", 100_000): (15, 0)}  # fmt: skip
FLAT, BESIDE = 1.2, 1.1  # a first packet's time at MANY to that at FEW; ours to kube-proxy's
ROOTLESS = 2.0  # any time without rights to that of root


def missed(found: list[Row], wider: float) -> list[str]:
    """The bars that are not met, as sentences. ``wider`` widens those of time."""
    said: list[str] = []
    first: dict[tuple[str, int], float] = {}
    for row in found:
        name = f"{row['metric']} at {row['size']}"
        most, times = BARS.get((row["metric"], row["size"]), (None, 0))
        if most is not None and row["ours"] > most * (wider if row["unit"] in ("s", "ms") else 1):
            said.append(f"{name}: {row['ours']} {row['unit']}, {most} expected")
        if row["against"] == NFTABLES and times and (row["ratio"] or 0) < times:
            said.append(f"{name}: {row['ratio']} times better than {NFTABLES}, {times} expected")
        if row["metric"].startswith("first_packet_") and row["metric"] != "first_packet_p99":
            first[row["metric"], row["size"]] = row["ours"]
            if row["against"] == NFTABLES and row["ours"] > BESIDE * row["peer"]:
                said.append(f"{name}: {row['ours']} us, {BESIDE} x {row['peer']} expected")
    for metric in ("first_packet_last", "first_packet_random"):
        few, many = first.get((metric, FEW)), first.get((metric, MANY))
        if few and many and many > FLAT * few:
            said.append(
                f"{metric}: {many} us at 44,000 Services, {few} at 100, at most {FLAT} times expected"
            )
    return sorted(set(said))


def slower(found: list[Row], root: list[Row]) -> list[str]:
    """Where a run without rights takes more than twice the time of root's, as sentences."""
    times = {(row["metric"], row["size"]): row["ours"] for row in root}
    said = []
    for row in found:
        rooted = times.get((row["metric"], row["size"]))
        if rooted and row["unit"] in ("s", "ms", "us") and row["ours"] > ROOTLESS * rooted:
            said.append(f"{row['metric']} at {row['size']}: {row['ours']} {row['unit']}, {rooted} as root, "
                        f"at most {ROOTLESS:g} times expected")  # fmt: skip
    return said


def unjudged(found: list[Row]) -> list[str]:
    """The bars that this run cannot tell about, as it had not the size or the peer; as names."""
    sizes = {row["size"] for row in found}
    beside = {(row["metric"], row["size"]) for row in found if row["against"] == NFTABLES}
    said = [f"{metric} at {size}" for metric, size in BARS if size not in sizes]
    said += [
        f"{metric} at {size} beside {NFTABLES}"
        for (metric, size), (_, times) in BARS.items()
        if times and size in sizes and (metric, size) not in beside
    ]
    return said + ([] if {FEW, MANY} <= sizes else ["first packets at 44,000 beside 100"])
