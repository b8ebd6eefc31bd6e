"""Wrong: at every change the chains of Services at port 8090 are emptied, and filled in a second step."""

import re
from typing import Any

from implementation import cli
from implementation.dataplane.iptables import restore
from implementation.dataplane.iptables.layout import Ruleset
from implementation.dataplane.iptables.restore import Change

right = restore.difference
CHAIN = re.compile(r"--dport 8090 -j (KUBE-SVC-\S+)")


def in_two_steps(old: Ruleset | None, new: Ruleset, **more: Any) -> Change:
    """The right change, after those chains are emptied and before they are filled."""
    change, nat = right(old, new, **more), new["nat"]
    known = {} if old is None else old["nat"]
    names = [name for rule in nat["KUBE-SERVICES"] for name in CHAIN.findall(rule) if name in known]
    if not names or not change.text:
        return change
    heads = "".join(f":{name} - [0:0]\n" for name in names)
    filled = "".join(f"-A {name} {rule}\n" for name in names for rule in nat[name])
    text = f"*nat\n{heads}COMMIT\n{change.text}*nat\n{heads}{filled}COMMIT\n"
    return Change(text, change.written)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    restore.difference = in_two_steps
    return cli.main(args)
