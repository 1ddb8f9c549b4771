package controller

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"relight/internal/array"
	"relight/internal/array/lio"
	"relight/internal/array/ontap"
	"relight/internal/array/tgt"
	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

const (
	// scriptWithin bounds a program that prints a password.
	scriptWithin = 10 * time.Second
	// restWithin bounds one request to an array's management.
	restWithin = 30 * time.Second
	// configfs is where the kernel's target keeps its configuration.
	configfs = "/sys/kernel/config/target"
)

// openArray is the one table of drivers for SAN arrays. The spec's rules see to it
// that the options fit the driver.
func openArray(a fleet.Array) (array.Array, error) {
	o, prefix := a.Options, array.Prefix(a)
	switch a.Driver {
	case fleet.ArrayTGT:
		control, err := strconv.Atoi("0" + o["control"])
		if err != nil {
			return nil, fmt.Errorf("option control %q is no number", o["control"])
		}
		return tgt.New(tgt.Config{Name: a.Name, Prefix: prefix, Portal: a.Portal, Dir: o["dir"], Control: control}), nil
	case fleet.ArrayLIO:
		tree := o["tree"]
		if tree == "" {
			tree = configfs
		}
		return lio.New(lio.Config{Name: a.Name, Prefix: prefix, Portal: a.Portal, MorePortals: a.MorePortals, Dir: o["dir"]}, lio.Root(tree)), nil
	case fleet.ArrayONTAP:
		password, err := printed(o["password_script"])
		if err != nil {
			return nil, err
		}
		client, err := restClient(o["ca"])
		if err != nil {
			return nil, err
		}
		return ontap.New(ontap.Config{
			Name: a.Name, Prefix: prefix, URL: o["url"], User: o["user"], Password: password,
			SVM: o["svm"], Volume: o["volume"], Portal: a.Portal,
		}, client), nil
	default:
		return nil, fmt.Errorf("no driver %q for arrays", a.Driver)
	}
}

// printed is what a program prints, without the line break at its end.
func printed(program string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), scriptWithin)
	defer cancel()
	out, err := exec.CommandContext(ctx, program).Output()
	if err != nil {
		return "", fmt.Errorf("password_script %s: %w", program, err)
	}
	return strings.TrimRight(string(out), "\r\n"), nil
}

// restClient trusts the certificates of a file, or the machine's own without one.
func restClient(ca string) (*http.Client, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("option ca: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("option ca: %s holds no certificate", ca)
		}
	}
	return &http.Client{Timeout: restWithin, Transport: &http.Transport{TLSClientConfig: conf}}, nil
}

// Fenced says up to which epoch the journal calls a server fenced, for array.Marks.
func (s *State) Fenced(_ context.Context, server string) (fleet.Epoch, error) {
	return decide.Fenced(s.Status(server)), nil
}
