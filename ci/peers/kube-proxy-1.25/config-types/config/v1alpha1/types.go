// Package v1alpha1 stands in for the types of the configuration file of kube-proxy 1.25, which no module
// served holds. Flags are used here, never a file, so that nothing but the names matters.
package v1alpha1

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	base "k8s.io/component-base/config/v1alpha1"
)

const GroupName = "kubeproxy.config.k8s.io"

var SchemeGroupVersion = schema.GroupVersion{Group: GroupName, Version: "v1alpha1"}

var (
	SchemeBuilder = runtime.NewSchemeBuilder(func(s *runtime.Scheme) error {
		s.AddKnownTypes(SchemeGroupVersion, &KubeProxyConfiguration{})
		return nil
	})
	AddToScheme = SchemeBuilder.AddToScheme
)

type (
	ProxyMode string
	LocalMode string
)

type KubeProxyIPTablesConfiguration struct {
	MasqueradeBit *int32          `json:"masqueradeBit"`
	MasqueradeAll bool            `json:"masqueradeAll"`
	SyncPeriod    metav1.Duration `json:"syncPeriod"`
	MinSyncPeriod metav1.Duration `json:"minSyncPeriod"`
}

type KubeProxyIPVSConfiguration struct {
	SyncPeriod    metav1.Duration `json:"syncPeriod"`
	MinSyncPeriod metav1.Duration `json:"minSyncPeriod"`
	Scheduler     string          `json:"scheduler"`
	ExcludeCIDRs  []string        `json:"excludeCIDRs"`
	StrictARP     bool            `json:"strictARP"`
	TCPTimeout    metav1.Duration `json:"tcpTimeout"`
	TCPFinTimeout metav1.Duration `json:"tcpFinTimeout"`
	UDPTimeout    metav1.Duration `json:"udpTimeout"`
}

type KubeProxyConntrackConfiguration struct {
	MaxPerCore            *int32           `json:"maxPerCore"`
	Min                   *int32           `json:"min"`
	TCPEstablishedTimeout *metav1.Duration `json:"tcpEstablishedTimeout"`
	TCPCloseWaitTimeout   *metav1.Duration `json:"tcpCloseWaitTimeout"`
}

type KubeProxyWinkernelConfiguration struct {
	NetworkName           string `json:"networkName"`
	SourceVip             string `json:"sourceVip"`
	EnableDSR             bool   `json:"enableDSR"`
	RootHnsEndpointName   string `json:"rootHnsEndpointName"`
	ForwardHealthCheckVip bool   `json:"forwardHealthCheckVip"`
}

type DetectLocalConfiguration struct {
	BridgeInterface     string `json:"bridgeInterface"`
	InterfaceNamePrefix string `json:"interfaceNamePrefix"`
}

type KubeProxyConfiguration struct {
	metav1.TypeMeta             `json:",inline"`
	FeatureGates                map[string]bool                    `json:"featureGates,omitempty"`
	BindAddress                 string                             `json:"bindAddress"`
	HealthzBindAddress          string                             `json:"healthzBindAddress"`
	MetricsBindAddress          string                             `json:"metricsBindAddress"`
	BindAddressHardFail         bool                               `json:"bindAddressHardFail"`
	EnableProfiling             bool                               `json:"enableProfiling"`
	ClusterCIDR                 string                             `json:"clusterCIDR"`
	HostnameOverride            string                             `json:"hostnameOverride"`
	ClientConnection            base.ClientConnectionConfiguration `json:"clientConnection"`
	IPTables                    KubeProxyIPTablesConfiguration     `json:"iptables"`
	IPVS                        KubeProxyIPVSConfiguration         `json:"ipvs"`
	OOMScoreAdj                 *int32                             `json:"oomScoreAdj"`
	Mode                        ProxyMode                          `json:"mode"`
	PortRange                   string                             `json:"portRange"`
	UDPIdleTimeout              metav1.Duration                    `json:"udpIdleTimeout"`
	Conntrack                   KubeProxyConntrackConfiguration    `json:"conntrack"`
	ConfigSyncPeriod            metav1.Duration                    `json:"configSyncPeriod"`
	NodePortAddresses           []string                           `json:"nodePortAddresses"`
	Winkernel                   KubeProxyWinkernelConfiguration    `json:"winkernel"`
	ShowHiddenMetricsForVersion string                             `json:"showHiddenMetricsForVersion"`
	DetectLocalMode             LocalMode                          `json:"detectLocalMode"`
	DetectLocal                 DetectLocalConfiguration           `json:"detectLocal"`
}

func (c *KubeProxyConfiguration) DeepCopyObject() runtime.Object {
	b, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	out := &KubeProxyConfiguration{}
	if err := json.Unmarshal(b, out); err != nil {
		panic(err)
	}
	return out
}
