"""The traffic that must notice nothing: one file for who answers and for who asks, told apart by an argument.

Who asks counts a connection as lost when it is refused, cut, unanswered for 3 s, or when the kernel had to
send its first packet again (TCP_INFO): a busy machine delays, it does not make the kernel lose packets. Later
packets are also sent again when an answer is only late, and tell nothing.
"""

from __future__ import annotations

import json
from typing import Any

from clusters.base import Workload

CONTROL = 7700
PROGRAM = '''
import http.server, json, socket, struct, sys, threading, time

def serve(port):
    with socket.create_server(("0.0.0.0", port), backlog=1024) as listener:
        while True:
            made, _ = listener.accept()
            with made:
                made.settimeout(3)
                try:
                    made.recv(100)
                    made.sendall(socket.gethostname().encode())
                except OSError:
                    pass

counts = {}

def knock(name, address, port):
    mine = counts[name] = {"sent": 0, "lost": [], "who": {}}
    while True:
        begun, why, who = time.monotonic(), "", ""
        try:
            with socket.create_connection((address, port), timeout=3) as made:
                info = made.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
                again = struct.unpack_from("I", info, 100)[0]
                made.sendall(b"?")
                who = made.recv(100).decode()
                why = f"{again} first packets sent again" if again else "" if who else "no answer"
        except OSError as error:
            why = str(error)
        mine["who"][who] = mine["who"].get(who, 0) + 1
        mine["sent"] += 1
        if why:
            mine["lost"].append([begun, time.monotonic(), why])
        time.sleep(max(0.0, 0.02 - (time.monotonic() - begun)))

class Told(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = json.dumps(counts).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *args):
        pass

if sys.argv[1] == "serve":
    threading.Thread(target=serve, args=(80,), daemon=True).start()
else:
    for name, (address, port) in json.loads(sys.argv[1]).items():
        threading.Thread(target=knock, args=(name, address, port), daemon=True).start()
http.server.ThreadingHTTPServer(("0.0.0.0", int(sys.argv[2])), Told).serve_forever()
'''


def config_map() -> dict[str, Any]:
    """The ConfigMap that pods take the program from."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "traffic"},
            "data": {"traffic.py": PROGRAM}}


def pod(name: str, node: str, argument: str, **labels: str) -> dict[str, Any]:
    """A pod that answers (``serve``) or asks (targets as JSON)."""
    container = {
        "name": "main", "image": "python:3.12-slim",
        "command": ["python3", "/code/traffic.py", argument, str(CONTROL)],
        "volumeMounts": [{"name": "code", "mountPath": "/code"}],
        "readinessProbe": {"httpGet": {"path": "/", "port": CONTROL}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
        "spec": {"nodeName": node, "containers": [container], "terminationGracePeriodSeconds": 0,
                 "volumes": [{"name": "code", "configMap": {"name": "traffic"}}]},
    }


async def told(asker: Workload) -> dict[str, dict[str, Any]]:
    """What one who asks has counted: by target how many were ``sent``, which ``lost``, ``who`` answered."""
    status, body = await asker.request("GET", "/", timeout=10)
    assert status == 200, body
    found: dict[str, dict[str, Any]] = json.loads(body)
    return found
