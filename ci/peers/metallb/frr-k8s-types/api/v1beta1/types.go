// Package v1beta1 is a hand-written stand-in with just the names that MetalLB's unused frr-k8s BGP back end refers to,
// because that module is not served here. Native L2 mode never calls it.
package v1beta1

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

type DynamicASNMode string
type SecretReference struct{ Name, Namespace string }
type AllowedOutPrefixes struct{ Prefixes []string }
type LocalPrefPrefixes struct {
	Prefixes  []string
	LocalPref uint32
}
type CommunityPrefixes struct {
	Community string
	Prefixes  []string
}
type AsPathPrependPrefixes struct {
	Prefixes      []string
	PrependCount  uint8
	AsPathPrepend uint8
	Count         uint8
}
type Advertise struct {
	Allowed                   AllowedOutPrefixes
	PrefixesWithLocalPref     []LocalPrefPrefixes
	PrefixesWithCommunity     []CommunityPrefixes
	PrefixesWithAsPathPrepend []AsPathPrependPrefixes
}
type Neighbor struct {
	Address, Interface                                                     string
	ASN                                                                    uint32
	DynamicASN                                                             DynamicASNMode
	Port                                                                   *uint16
	HoldTime, KeepaliveTime, ConnectTime                                   *metav1.Duration
	BFDProfile                                                             string
	EnableGracefulRestart, EBGPMultiHop, DualStackAddressFamily, DisableMP bool
	ToAdvertise                                                            Advertise
	Password                                                               string
	PasswordSecret                                                         SecretReference
}
type Router struct {
	ASN       uint32
	ID, VRF   string
	Neighbors []Neighbor
	Prefixes  []string
}
type BFDProfile struct {
	Name                                                                          string
	ReceiveInterval, TransmitInterval, DetectMultiplier, EchoInterval, MinimumTTL *uint32
	EchoMode, PassiveMode                                                         *bool
}
type BGPConfig struct {
	Routers     []Router
	BFDProfiles []BFDProfile
}
type FRRConfigurationSpec struct {
	BGP          BGPConfig
	NodeSelector metav1.LabelSelector
}
type FRRConfiguration struct {
	metav1.TypeMeta
	metav1.ObjectMeta
	Spec FRRConfigurationSpec
}
type FRRConfigurationList struct {
	metav1.TypeMeta
	metav1.ListMeta
	Items []FRRConfiguration
}

func clone[T any](in *T) *T {
	b, _ := json.Marshal(in)
	o := new(T)
	_ = json.Unmarshal(b, o)
	return o
}

func (s *FRRConfigurationSpec) DeepCopyInto(o *FRRConfigurationSpec) { *o = *clone(s) }
func (c *FRRConfiguration) DeepCopy() *FRRConfiguration              { return clone(c) }
func (c *FRRConfiguration) DeepCopyObject() runtime.Object           { return clone(c) }
func (c *FRRConfigurationList) DeepCopyObject() runtime.Object       { return clone(c) }

func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(schema.GroupVersion{Group: "frrk8s.metallb.io", Version: "v1beta1"}, &FRRConfiguration{}, &FRRConfigurationList{})
	return nil
}
