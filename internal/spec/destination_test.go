package spec

import (
	"strings"
	"testing"
)

// Where elastic addresses lead is checked before EC2 could refuse it.
func TestWhereAddressesLead(t *testing.T) {
	for _, row := range []struct{ identity, want string }{
		{`interfaces: [{id: eni-1, addresses: [10.0.0.1, 10.0.0.2]}], addresses: [{ip: 192.0.2.1, allocation: e-1}, {ip: 192.0.2.2, allocation: e-2, interface: eni-1, private: 10.0.0.2}], names: [{name: a, zone: Z, ipv6: true}]`, ""},
		{`addresses: [{ip: 192.0.2.1, allocation: e-1, private: 10.0.0.2}]`, "names a private address of no interface"},
		{`addresses: [{ip: 192.0.2.1, allocation: e-1, interface: eni-9}]`, "leads to eni-9, which is no interface of the server"},
		{`interfaces: [{id: eni-1, addresses: [10.0.0.1]}], addresses: [{ip: 192.0.2.1, allocation: e-1, interface: eni-1, private: 10.0.0.2}]`, "interface eni-1 has no address 10.0.0.2"},
		{`interfaces: [{id: eni-1}], addresses: [{ip: 192.0.2.1, allocation: e-1, interface: eni-1}, {ip: 192.0.2.2, allocation: e-2, interface: eni-1}]`, "192.0.2.1 and 192.0.2.2 lead to the same private address"},
		{`addresses: [{ip: 192.0.2.1, allocation: e-1}], names: [{name: a, zone: Z, ipv6: true}]`, "the record AAAA of a leads nowhere"},
	} {
		text := "{apiVersion: relight/v1alpha1, kind: Server, metadata: {name: a}, spec: {identity: {" + row.identity + "}, template: {ec2: {launchTemplate: lt-1, version: 1}}}}"
		_, err := Parse(File{Name: "a.yaml", Data: []byte(text)})
		if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s\n%v, want %q", row.identity, err, row.want)
		}
	}
	text := "{apiVersion: relight/v1alpha1, kind: Server, metadata: {name: a}, spec: {identity: {addresses: [{ip: 192.0.2.1, interface: eni-1}]}, template: {process: {command: [/bin/a]}}}}"
	if _, err := Parse(File{Name: "a.yaml", Data: []byte(text)}); err == nil || !strings.Contains(err.Error(), "only EC2 leads addresses to interfaces") {
		t.Errorf("%v", err)
	}
}
