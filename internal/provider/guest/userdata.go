package guest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// MaxUserData is the most that EC2 takes, in bytes before base64.
const MaxUserData = 16 << 10

// Errors of user data.
var (
	// ErrTooLong: with the agent's part it would be more than EC2 takes.
	ErrTooLong = errors.New("user data is longer than EC2 takes")
	// ErrForeign: the launch template's user data is not for cloud-init.
	ErrForeign = errors.New("the launch template's user data is not for cloud-init")
)

// PlanFile is where the plan lies in an instance.
const PlanFile = "/etc/relight/guest.json"

// scriptHead is how the agent's script is known again.
const scriptHead = "#cloud-boothook\n#!/bin/sh\n# Starts Relight's guest agent"

// The delimiter of what the script writes; JSON and units have no such line.
const script = scriptHead + `, which mounts volumes and reports. A boothook runs at each
# boot with the user data of that boot; the unit is not enabled, because it must never
# run with the plan of an epoch that is over.
umask 077
mkdir -p /etc/relight
cat >%[1]s.new <<'RELIGHT-END'
%[2]s
RELIGHT-END
mv %[1]s.new %[1]s
umask 022
cat >/etc/systemd/system/relight-guest.service <<'RELIGHT-END'
[Unit]
Description=Relight guest agent
# Units that need the volumes say: Requires= and After=relight-guest.service
Wants=network-online.target
After=network-online.target
[Service]
Type=notify
NotifyAccess=main
# It is ready once all volumes are mounted, however long that takes.
TimeoutStartSec=infinity
ExecStart=/usr/local/bin/relight agent guest --plan %[1]s
Restart=always
RestartSec=1
RELIGHT-END
systemctl daemon-reload
systemctl restart --no-block relight-guest.service
`

// Script is the user data that starts the agent of one epoch.
func Script(p Plan) ([]byte, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("plan of %s: %w", p.Server, err)
	}
	return fmt.Appendf(nil, script, PlanFile, data), nil
}

const boundary = "==relight-guest-agent=="

// Combine joins the launch template's own user data and the agent's script, in the
// MIME form of cloud-init: a request's user data replaces the template's, which would
// be lost. Errors: ErrTooLong, ErrForeign.
func Combine(theirs, ours []byte) ([]byte, error) {
	out := ours
	if len(bytes.TrimSpace(theirs)) > 0 {
		part, err := partOf(theirs)
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%q\nMIME-Version: 1.0\n\n", boundary)
		fmt.Fprintf(&b, "--%s\nContent-Type: text/cloud-boothook\n\n%s\n", boundary, ours)
		fmt.Fprintf(&b, "--%s\n%s\n--%s--\n", boundary, part, boundary)
		out = b.Bytes()
	}
	if len(out) > MaxUserData {
		return nil, fmt.Errorf("%w: %d of %d bytes, of which the launch template has %d; next: have the template fetch its script (#include), or mount fewer volumes",
			ErrTooLong, len(out), MaxUserData, len(theirs))
	}
	return out, nil
}

// kinds are cloud-init's types by what user data begins with.
var kinds = []struct{ prefix, kind string }{
	{"#!", "text/x-shellscript"},
	{"#cloud-config-archive", "text/cloud-config-archive"},
	{"#cloud-config", "text/cloud-config"},
	{"#cloud-boothook", "text/cloud-boothook"},
	{"#include-once", "text/x-include-once-url"},
	{"#include", "text/x-include-url"},
	{"#part-handler", "text/part-handler"},
	{"## template: jinja", "text/jinja2"},
	{"\x1f\x8b", "application/octet-stream"}, // compressed: cloud-init looks inside
}

// Without undoes Combine: what was there before the agent's script was joined to it.
// User data without that script is returned as it is.
func Without(data []byte) []byte {
	text := string(data)
	head := fmt.Sprintf("Content-Type: multipart/mixed; boundary=%q\nMIME-Version: 1.0\n\n--%s\nContent-Type: text/cloud-boothook\n\n%s", boundary, boundary, scriptHead)
	if !strings.HasPrefix(text, head) {
		if strings.HasPrefix(text, scriptHead) {
			return nil
		}
		return data
	}
	_, part, _ := strings.Cut(text[len(head):], "\n--"+boundary+"\n")
	part, ok := strings.CutSuffix(part, "\n--"+boundary+"--\n")
	if !ok {
		return data // somebody has changed it since
	}
	for _, k := range kinds {
		if rest, ok := strings.CutPrefix(part, "Content-Type: "+k.kind+"\nContent-Transfer-Encoding: base64\n\n"); ok {
			if raw, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(rest, "\n", "")); err == nil {
				return raw
			}
		}
		if rest, ok := strings.CutPrefix(part, "Content-Type: "+k.kind+"\n\n"); ok {
			return []byte(rest)
		}
	}
	return []byte(part)
}

// partOf is the template's user data as one part.
func partOf(theirs []byte) (string, error) {
	text := string(theirs)
	for _, head := range []string{"content-type:", "mime-version:"} {
		if strings.HasPrefix(strings.ToLower(text), head) && !strings.Contains(text, boundary) {
			return text, nil // it has parts of its own, and cloud-init takes parts in parts
		}
	}
	for _, k := range kinds {
		if !strings.HasPrefix(text, k.prefix) {
			continue
		}
		if plain(text) {
			return fmt.Sprintf("Content-Type: %s\n\n%s", k.kind, text), nil
		}
		return fmt.Sprintf("Content-Type: %s\nContent-Transfer-Encoding: base64\n\n%s", k.kind, folded(theirs)), nil
	}
	return "", fmt.Errorf("%w: it begins with %.20q; next: begin it with #cloud-config, or with the line of a shell", ErrForeign, text)
}

// plain reports whether a text can stand in a message as it is.
func plain(text string) bool {
	for line := range strings.Lines(text) {
		if len(line) > 900 || strings.Contains(line, boundary) {
			return false
		}
	}
	return !strings.ContainsFunc(text, func(r rune) bool { return r > '~' || r < ' ' && r != '\n' && r != '\t' })
}

// folded is base64 in lines of 76.
func folded(data []byte) string {
	text := base64.StdEncoding.EncodeToString(data)
	var lines []string
	for len(text) > 76 {
		lines, text = append(lines, text[:76]), text[76:]
	}
	return strings.Join(append(lines, text), "\n")
}
