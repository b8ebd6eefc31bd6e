"""kubectl's logs, exec, attach, run, port-forward and cp against pods of the embedded cluster."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters.locate import locate
from clusters.netns.cluster import NetnsCluster
from clusters.tests.kubectl_terminal import Kubectl

pytestmark = pytest.mark.kernel

# One pod says what it is told, on two streams; one ended badly before; one serves.
PODS = """
apiVersion: v1
kind: Pod
metadata: {name: talker, labels: {app: talk}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: out
    image: debian
    command:
    - sh
    - -c
    - for n in 1 2 3; do echo line $n; done; echo wrong >&2; touch /tmp/more; exec tail -n +1 -f /tmp/more
    readinessProbe: {exec: {command: [test, -e, /tmp/more]}}
  - name: other
    image: debian
    workingDir: /usr
    command: [sh, -c, 'printf "begun\\nno end"; exec sleep 1000']
---
apiVersion: v1
kind: Pod
metadata: {name: crashed}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: debian, command: [sh, -c, 'echo the first run; exit 3']}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: web, image: nextcloud}]
"""


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    cluster = asyncio.run(locate("netns://2-nodes"))
    assert isinstance(cluster, NetnsCluster)
    kubectl = Kubectl(cluster.kubeconfig, tmp_path_factory.mktemp("home"))
    kubectl("apply", "-f", "-", stdin=PODS)
    kubectl("wait", "--for=condition=Ready", "pod/talker", "pod/web", "--timeout=10s")
    yield kubectl
    asyncio.run(cluster.close())


STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"


def test_a_log_is_what_the_program_wrote(kubectl: Kubectl) -> None:
    assert kubectl("logs", "talker", "-c", "out") == "line 1\nline 2\nline 3\nwrong\n"
    assert kubectl("logs", "talker", "-c", "out", "--tail=2") == "line 3\nwrong\n"
    assert kubectl("logs", "talker", "-c", "out", "--limit-bytes=8") == "line 1\nl"
    assert kubectl("logs", "talker", "-c", "out", "--since-time=2999-01-01T00:00:00Z") == ""
    assert kubectl("logs", "talker", "-c", "out", "--since=1h").startswith("line 1\n")
    stamped = kubectl("logs", "talker", "-c", "out", "--timestamps", "--tail=1")
    assert re.fullmatch(f"{STAMP} wrong\n", stamped)


def test_logs_of_all_containers_and_of_a_selector_are_told_apart(kubectl: Kubectl) -> None:
    first = kubectl("logs", "talker")
    assert first.startswith("line 1\n") and 'Defaulted container "out" out of: out, other' in first
    for words in (["talker"], ["-l", "app=talk"]):
        every = kubectl("logs", *words, "--all-containers", "--prefix")
        assert "[pod/talker/out] line 3\n" in every


def test_following_shows_what_comes_and_ends_with_the_program(kubectl: Kubectl) -> None:
    with kubectl.beside("logs", "-f", "talker", "-c", "out", "--tail=1") as follower:
        follower.until("wrong")
        kubectl("exec", "talker", "-c", "out", "--", "sh", "-c", "echo more >> /tmp/more")
        follower.until("more")
    with kubectl.beside("logs", "-f", "talker", "-c", "other") as follower:
        follower.until("begun\r\n")
        kubectl("exec", "talker", "-c", "other", "--", "pkill", "-f", "^sleep 1000")
        assert follower.rest() == "no end"


def test_the_log_of_the_run_before_stays_readable(kubectl: Kubectl) -> None:
    kubectl("wait", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", "pod/crashed",
            "--timeout=15s")
    assert kubectl("logs", "crashed", "--previous") == "the first run\n"
    said = kubectl("logs", "web", "--previous", status=1)
    assert said == ("Error from server (BadRequest): previous terminated container \"web\" in pod \"web\" "
                    "not found\n")


def test_a_log_that_cannot_be_had_is_refused_as_kubernetes_does(kubectl: Kubectl) -> None:
    kubectl("run", "imageless", "--image=nowhere/none")
    kubectl("wait", "--for=jsonpath={.status.containerStatuses[0].state.waiting.reason}=ErrImagePull",
            "pod/imageless", "--timeout=10s")
    assert kubectl("logs", "imageless", status=1) == (
        'Error from server (BadRequest): container "imageless" in pod "imageless" is waiting to start: '
        "image can't be pulled\n")
    assert '(NotFound): pods "nobody" not found' in kubectl("logs", "nobody", status=1)
    assert 'unable to upgrade connection: container not found ("imageless")' in kubectl(
        "exec", "imageless", "--", "true", status=1)


def test_exec_gives_outputs_and_status_apart(kubectl: Kubectl) -> None:
    said = kubectl("exec", "talker", "-c", "other", "--", "sh", "-c", "pwd; echo bad >&2; exit 3", status=3)
    assert said == "/usr\nbad\ncommand terminated with exit code 3\n"
    assert 'exec: "nosuch": executable file not found in $PATH' in kubectl(
        "exec", "web", "--", "nosuch", status=127)
    refused = kubectl("exec", "web", "-c", "none", "--", "true", status=1)
    assert "container none is not valid for pod web" in refused  # kubectl 1.36 asks nobody to say so


def test_what_is_typed_arrives_whole_and_its_end_too(kubectl: Kubectl) -> None:
    text = "0123456789abcdef" * 20_000
    assert kubectl("exec", "-i", "web", "--", "wc", "-c", stdin=text).strip() == str(len(text))
    assert kubectl("exec", "web", "--", "head", "-c", "300000", "/dev/zero") == "\0" * 300_000


# A shell with readline would lose what is typed while it changes the terminal's modes; this one does not.
ON_A_TERMINAL = """
trap 'echo caught; exit 5' INT
stty size; tty
until [ "$(stty size)" = '40 120' ]; do sleep 0.05; done
echo resized
while :; do sleep 0.05; done
"""


def test_a_command_on_a_terminal_has_its_size_and_is_interrupted(kubectl: Kubectl) -> None:
    words = ["exec", "-it", "web", "--", "sh", "-c", ON_A_TERMINAL]
    with kubectl.beside(*words, columns=101, lines=33) as shell:
        shell.until("33 101")
        shell.until("/dev/pts/")
        shell.resize(120, 40)
        shell.until("resized")
        shell.type("\x03")
        shell.until("caught")
        shell.until("exit code 5")


def test_the_posts_shell_is_run_typed_into_and_removed(kubectl: Kubectl) -> None:
    words = ["run", "debian-bash", "--rm", "-i", "--tty", "--image", "debian", "bash"]
    with kubectl.beside(*words) as shell:
        shell.until("If you don't see a command prompt, try pressing enter.")
        shell.type("\r")
        shell.until("root@debian-bash:/# ")
        shell.type("ip addr | grep 10.42\r")
        shell.until("inet 10.42.")
        with kubectl.beside("attach", "-it", "debian-bash") as second:
            second.until("try pressing enter")
            second.type("\r")
            second.until("root@debian-bash:/# ")
            shell.type("echo for $((1 + 1))\r")
            second.until("for 2")
        shell.type("exit\r")
        shell.until('pod "debian-bash" deleted')


def test_a_pod_run_with_input_reads_it_to_its_end_and_gives_its_status(kubectl: Kubectl) -> None:
    words = ["run", "once", "--rm", "-i", "--restart=Never", "--image=busybox", "--"]
    said = kubectl(*words, "sh", "-c", "read line; echo got $line; cat; exit 4", stdin="one\ntwo\n", status=4)
    assert "got one\ntwo\n" in said and "pod default/once terminated (Error)" in said


def test_ports_are_forwarded_by_kubectl(kubectl: Kubectl) -> None:
    with kubectl.beside("port-forward", "pod/web", ":80") as forward:
        forward.until("Forwarding from 127.0.0.1:")
        port = forward.until(" -> 80")
        for number in range(3):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/?n={number}", timeout=10) as answer:
                assert len(answer.read()) == 6815
    assert [line.split()[6] for line in kubectl("logs", "web").splitlines()] == ["/?n=0", "/?n=1", "/?n=2"]
    with kubectl.beside("port-forward", "pod/web", ":81") as forward:
        forward.until("Forwarding from 127.0.0.1:")
        port = forward.until(" -> 81")
        with pytest.raises(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10)
        forward.until("dial tcp4 127.0.0.1:81: connect: connection refused")


def test_files_are_copied_both_ways(kubectl: Kubectl, tmp_path: Path) -> None:
    data = bytes(range(256)) * 2000
    (tmp_path / "there").write_bytes(data)
    kubectl("cp", str(tmp_path / "there"), "web:/tmp/copied")
    kubectl("cp", "web:/tmp/copied", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == data
