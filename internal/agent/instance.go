package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// ErrNoInstance: nobody tells which instance of EC2 this machine is.
var ErrNoInstance = errors.New("this machine does not tell which instance of EC2 it is; next: turn its metadata service on (aws ec2 modify-instance-metadata-options --http-endpoint enabled)")

// metadataService is where EC2 tells an instance about itself, and metadataWithin bounds
// each question: it is on the same host, or it is off.
const (
	metadataService = "http://169.254.169.254"
	metadataWithin  = 2 * time.Second
)

// instanceID is the form of an instance's name.
var instanceID = regexp.MustCompile(`^i-[0-9a-f]{6,32}$`)

// thisInstance is the name of the instance that this machine is, from what cannot come from
// another machine's disk: the asset tag of the board, where Nitro writes it, and else the
// metadata service (IMDSv2) under the base URL. Errors: ErrNoInstance.
func thisInstance(ctx context.Context, sys, base string) (string, error) {
	tag, err := os.ReadFile(filepath.Join(sys, "class/dmi/id/board_asset_tag"))
	if id := strings.TrimSpace(string(tag)); err == nil && instanceID.MatchString(id) {
		return id, nil
	}
	client := &http.Client{Timeout: metadataWithin, Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	token, err := metadata(ctx, client, http.MethodPut, base+"/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "60")
	var id string
	if err == nil {
		id, err = metadata(ctx, client, http.MethodGet, base+"/latest/meta-data/instance-id", "X-aws-ec2-metadata-token", token)
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("%w: %w", ErrNoInstance, err)
	case !instanceID.MatchString(id):
		return "", fmt.Errorf("%w: its metadata service says %q", ErrNoInstance, id[:min(len(id), 40)])
	}
	return id, nil
}

func metadata(ctx context.Context, client *http.Client, method, url, header, value string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set(header, value)
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s", method, req.URL.Path, res.Status)
	}
	return strings.TrimSpace(string(body)), err
}
