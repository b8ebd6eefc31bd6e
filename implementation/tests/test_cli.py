"""Flags, the configuration file, kubeconfig, and the one sentence for each mistake."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import yaml

from implementation import cli, configfile, flags, kubeconfig
from implementation.dataplane.iptables.names import Style
from implementation.dataplane.iptables.options import Detect, LocalTraffic
from implementation.dataplane.iptables.tool import Variant
from implementation.node.sysctls import Tracking
from implementation.settings import Settings, SettingsError
from implementation.tests.api import KUBECONFIG

HEAD = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"


def settings(*args: str) -> Settings:
    return flags.parse(args).settings


def test_the_flags_of_k3s_are_understood() -> None:
    found = settings(
        "--proxy-mode=iptables",
        "--cluster-cidr=10.42.0.0/16",
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0s",
        "--conntrack-tcp-timeout-close-wait=0s",
        "--healthz-bind-address=127.0.0.1:10256",
        "--hostname-override=K3S-Node",
        "--kubeconfig",
        "/x",
    )

    assert (found.node_name, found.cluster_cidrs, found.kubeconfig) == ("k3s-node", ("10.42.0.0/16",), "/x")
    assert ((4, LocalTraffic(Detect.SOURCE, "10.42.0.0/16")),) == found.options().local_traffic


def test_every_flag_has_its_effect() -> None:
    found = settings(
        "--masquerade-all",
        "--iptables-masquerade-bit=13",
        "--iptables-sync-period=1m30s",
        "--iptables-min-sync-period=500ms",
        "--nodeport-addresses=primary",
        "--chain-style=1.18",
        "--iptables-variant=legacy",
        "--tcp-reject=icmp",
        "--iptables-localhost-nodeports=false",
        "--detect-local-mode=BridgeInterface",
        "--pod-bridge-interface=cni0",
        "--cleanup",
    )

    assert (
        found.masquerade_all,
        found.masquerade_bit,
        found.sync_period,
        found.min_sync_period,
        found.node_port_addresses,
        found.style,
        found.variant,
        found.localhost_node_ports,
        found.cleanup,
    ) == (True, 13, 90.0, 0.5, ("primary",), Style.OLD, Variant.LEGACY, False, True)
    options = found.options()
    assert (options.reset_tcp, options.mark) == (False, "0x00002000")
    assert ((4, LocalTraffic(Detect.INTERFACE, "cni0")), (6, LocalTraffic(Detect.INTERFACE, "cni0"))) == (
        options.local_traffic
    )


def test_node_networks_are_taken_from_the_node_when_asked() -> None:
    options = settings("--detect-local-mode=NodeCIDR", "--cluster-cidr=10.0.0.0/8").options(
        ("10.42.0.0/24", "fd42::/64")
    )

    assert [match.value for _, match in options.local_traffic] == ["10.42.0.0/24", "fd42::/64"]


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--proxy-mode=ipvs"], "--proxy-mode: 'ipvs' is not a mode of this proxy yet: use nftables"),
        (["--chain-style=1.19"], "--chain-style: '1.19' is not one of current, 1.18"),
        (["--iptables-sync-period=fast"], "'fast' is not a duration such as 30s, 1m30s or 500ms"),
        (["--cluster-cidr=10.42.0.0"], "network '10.42.0.0' is not a network such as 10.0.0.0/8"),
        (["--masquerade-all=yes"], "'yes' is not true or false"),
        (["--iptables-masquerade-bit=32"], "'32' is not a bit from 0 to 31"),
        (["--healthz-bind-address=x"], "'x' is not an address and port such as 127.0.0.1:10256"),
        (["--hostname-override=a b"], "node name 'a b' is not a DNS name"),
        (["--pod-bridge-interface=a;b"], "'a;b' is not the name of a network interface"),
        (["--no-such-flag"], "unrecognized arguments: --no-such-flag"),
        (["--config=/no/such"], "--config /no/such: No such file or directory"),
    ],
)
def test_a_wrong_flag_is_one_sentence_and_status_2(
    args: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(args) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[]", "is not a kubeconfig"),
        ("{", "is not YAML"),
        (KUBECONFIG, "cluster server 'SERVER' is not an http(s) URL"),
        (KUBECONFIG.replace("current-context: here", "current-context: x"), "has no context named 'x'"),
        (
            KUBECONFIG.replace("SERVER", "https://x").replace("token: secret", "exec: {}"),
            "exec or auth-provider",
        ),
    ],
)
def test_a_wrong_kubeconfig_is_one_sentence_and_status_1(
    text: str,
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "config"
    path.write_text(text)

    assert cli.main([f"--kubeconfig={path}"]) == 1
    assert sentence in capsys.readouterr().err


def test_no_kubeconfig_outside_a_pod_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    assert cli.main([]) == 1
    assert "no --kubeconfig given, and this is not a pod" in capsys.readouterr().err


def test_a_kubeconfig_with_inline_data_and_files(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(" secret \n")
    text = (
        KUBECONFIG.replace("SERVER", "https://x:1/")
        .replace("token: secret", "tokenFile: token")
        .replace('server: "', f'certificate-authority-data: {base64.b64encode(b"PEM").decode()}, server: "')
    )
    access = kubeconfig.parse(text, tmp_path)

    assert (access.server, access.ca, access.bearer()) == ("https://x:1", "PEM", "secret")


class TestConfigFile:
    def apply(self, text: str, *, named: bool = False) -> Settings:
        return configfile.apply(
            HEAD + text, settings("--cluster-cidr=10.0.0.0/8", "--hostname-override=me"), named=named
        )

    def test_a_file_wins_over_flags(self) -> None:
        found = self.apply(
            "clusterCIDR: 10.42.0.0/16\nmode: iptables\nhostnameOverride: other\n"
            "healthzBindAddress: 127.0.0.1:1\n"
            "iptables: {masqueradeBit: 13, masqueradeAll: true, syncPeriod: 10s, minSyncPeriod: 0s}\n"
            "nodePortAddresses: [192.168.0.0/16, 'fd00::/64']\n"
            "conntrack: {tcpBeLiberal: true, maxPerCore: 0, min: 7, udpTimeout: 1m30s}\n"
            "clientConnection: {kubeconfig: /k}\nipvs: {scheduler: rr}\n",
        )

        assert (
            found.cluster_cidrs,
            found.node_name,
            found.masquerade_bit,
            found.masquerade_all,
            found.sync_period,
            found.min_sync_period,
            found.node_port_addresses,
            found.tcp_be_liberal,
            found.tracking,
            found.kubeconfig,
        ) == (
            ("10.42.0.0/16",),
            "other",
            13,
            True,
            10.0,
            0.0,
            ("192.168.0.0/16", "fd00::/64"),
            True,
            Tracking(max_per_core=0, minimum=7, udp=90.0, be_liberal=True),
            "/k",
        )

    def test_the_nodes_name_given_as_a_flag_stays(self) -> None:
        assert self.apply("hostnameOverride: other\n", named=True).node_name == "me"

    def test_what_is_shown_can_be_read_again(self) -> None:
        chosen = self.apply("conntrack: {udpTimeout: 5s}\niptables: {syncPeriod: 7s}\nmode: userspace\n")
        shown = json.dumps(configfile.shown(chosen)["kubeproxy.config.k8s.io"])

        again = configfile.apply(HEAD + yaml.safe_dump(json.loads(shown)), settings(), named=False)

        assert again == chosen

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("clusterCidr: x\n", "unknown field `clusterCidr`"),
            ("mode: 7\n", "Expected `str | null`, got `int` - at `$.mode`"),
            ("mode: ipvs\n", "the field of --proxy-mode: 'ipvs' is not a mode"),
            ("iptables: {syncPeriod: 5}\n", "at `$.iptables.syncPeriod`"),
            (
                "conntrack: {udpTimeout: soon}\n",
                "the field of --conntrack-udp-timeout: 'soon' is not a duration",
            ),
            ("conntrack: {min: -1}\n", "the field of --conntrack-min: '-1' is not a number from 0 on"),
            ("conntrack: {most: 1}\n", "unknown field `most` - at `$.conntrack`"),
            ("kind: Other\n", "is kubeproxy"),
            ("{", "is not YAML"),
        ],
    )
    def test_a_mistake_names_the_field(self, text: str, sentence: str) -> None:
        with pytest.raises(SettingsError) as caught:
            self.apply(text)

        assert sentence in str(caught.value)
