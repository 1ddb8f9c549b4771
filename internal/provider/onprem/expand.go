package onprem

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"relight/internal/core/fleet"
)

var placeholder = regexp.MustCompile(`\$\{[^}]*\}`)

// expand replaces ${volume:NAME} by the volume's path and ${address:N} by the Nth
// address, counted from 0 and without its prefix length.
func expand(text string, id fleet.Identity) (string, error) {
	var bad error
	out := placeholder.ReplaceAllStringFunc(text, func(p string) string {
		kind, name, _ := strings.Cut(p[2:len(p)-1], ":")
		switch kind {
		case "volume":
			for _, v := range id.Volumes {
				if v.Name == name && v.Path != "" {
					return v.Path
				}
			}
		case "address":
			if n, err := strconv.ParseUint(name, 10, 16); err == nil && int(n) < len(id.Addresses) {
				ip, _, _ := strings.Cut(id.Addresses[n].IP, "/")
				return ip
			}
		}
		if bad == nil {
			bad = fmt.Errorf("placeholder %s names nothing of the server", p)
		}
		return p
	})
	return out, bad
}

func expandAll(list []string, id fleet.Identity) ([]string, error) {
	out := make([]string, len(list))
	for i, text := range list {
		var err error
		if out[i], err = expand(text, id); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func expandProcess(p fleet.ProcessTemplate, id fleet.Identity) (fleet.ProcessTemplate, error) {
	var err error
	if p.Command, err = expandAll(p.Command, id); err != nil {
		return p, err
	}
	if p.Dir, err = expand(p.Dir, id); err != nil {
		return p, err
	}
	env := make(map[string]string, len(p.Env))
	for k, v := range p.Env {
		if env[k], err = expand(v, id); err != nil {
			return p, err
		}
	}
	p.Env = env
	return p, nil
}

// expandCheck leaves a check whose placeholders name nothing as it is: it then
// fails with a message that shows the placeholder.
func expandCheck(c fleet.Check, id fleet.Identity) fleet.Check {
	if s, err := expand(c.HTTP, id); err == nil {
		c.HTTP = s
	}
	if s, err := expand(c.TCP, id); err == nil {
		c.TCP = s
	}
	if list, err := expandAll(c.Exec, id); err == nil && len(list) > 0 {
		c.Exec = list
	}
	return c
}
