package tgt

import (
	"fmt"
	"strconv"
	"strings"
)

// target is one target as tgtadm shows it.
type target struct {
	tid        uint32
	iqn        string
	nexuses    []nexus
	units      map[int]string // backing files by unit number
	accounts   []string
	initiators []string
}

// nexus is one session with its connections.
type nexus struct {
	sid, initiator string
	cids           []string
}

func (t *target) id() string { return strconv.FormatUint(uint64(t.tid), 10) }

// parse reads the list of targets. A line that it does not know inside a section
// that matters is an error: a session that is overlooked is a writer.
func parse(text string) ([]target, error) {
	var (
		out     []target
		section string
		unit    int
	)
	for _, line := range strings.Split(text, "\n") {
		word := strings.TrimSpace(line)
		depth := len(line) - len(strings.TrimLeft(line, " "))
		switch {
		case word == "":
		case depth == 0:
			t, err := head(word)
			if err != nil {
				return nil, err
			}
			out, section = append(out, t), ""
		case len(out) == 0:
			return nil, fmt.Errorf("list of targets: line %q before the first target", line)
		case depth == 4:
			section = word
		default:
			if err := out[len(out)-1].take(section, word, &unit); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func head(word string) (target, error) {
	id, iqn, ok := strings.Cut(strings.TrimPrefix(word, "Target "), ": ")
	tid, err := strconv.ParseUint(id, 10, 32)
	if !ok || err != nil {
		return target{}, fmt.Errorf("list of targets: %q is no target", word)
	}
	return target{tid: uint32(tid), iqn: iqn, units: map[int]string{}}, nil
}

func (t *target) take(section, word string, unit *int) error {
	key, value, _ := strings.Cut(word, ": ")
	switch section {
	case "I_T nexus information:":
		switch key {
		case "I_T nexus":
			t.nexuses = append(t.nexuses, nexus{sid: value})
			return nil
		case "Initiator", "Connection":
			if len(t.nexuses) == 0 {
				return fmt.Errorf("list of targets: %q outside a session", word)
			}
			n := &t.nexuses[len(t.nexuses)-1]
			if key == "Initiator" {
				n.initiator, _, _ = strings.Cut(value, " ")
			} else {
				n.cids = append(n.cids, value)
			}
			return nil
		case "IP Address", "RDMA IP Address":
			return nil
		}
		return fmt.Errorf("list of targets: %q among the sessions of %s", word, t.iqn)
	case "LUN information:":
		switch key {
		case "LUN":
			n, err := strconv.Atoi(value)
			if err != nil {
				return fmt.Errorf("list of targets: unit %q: %w", value, err)
			}
			*unit = n
		case "Backing store path":
			if value != "None" {
				t.units[*unit] = value
			}
		}
	case "Account information:":
		name, _, _ := strings.Cut(word, " ")
		t.accounts = append(t.accounts, name)
	case "ACL information:":
		t.initiators = append(t.initiators, word)
	}
	return nil
}
