package guest

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Config is what the guest is told on its kernel's command line, in words that
// begin with "relight.", or by its arguments if it runs as a service.
type Config struct {
	Server string
	Epoch  uint64
	// IP is the address of the first network interface with its prefix length,
	// "192.0.2.5/24"; Gateway is optional.
	IP, Gateway string
	// Disk is the data volume: its serial number, or "unit:N" for the N-th unit of
	// a SCSI target. Never a device name: the order of disks is not the same at
	// each boot.
	Disk string
	// App is what is done with the data volume: "writer" appends records, "probe"
	// only reads its first block again and again; empty means "probe" if there is
	// a Disk.
	App string
	// Ack is where the writer tells which records are durable, "192.0.2.1:9000".
	Ack string
	// Serve is a port on which who the guest is and how far it is can be asked, by
	// UDP and by TCP; 0 for none.
	Serve int
	// Quiesce is a program in the guest that is run with the word "freeze" before a
	// planned stop, and with "thaw" if the stop is called off.
	Quiesce string
	// Every is the time between two records, Beat between two beats.
	Every, Beat time.Duration
	// Warm guests wait until they are told who they are.
	Warm bool
	// Faults allows the orders that are for tests.
	Faults bool
}

// Defaults of Config.
const (
	DefaultEvery = 2 * time.Millisecond
	DefaultBeat  = 50 * time.Millisecond
)

// ParseConfig reads a command line. Words without the prefix are not ours; an
// unknown word with it is an error, because a slip there would go unseen.
func ParseConfig(cmdline string) (Config, error) {
	c := Config{Every: DefaultEvery, Beat: DefaultBeat}
	for word := range strings.FieldsSeq(cmdline) {
		word, ours := strings.CutPrefix(word, "relight.")
		if !ours {
			continue
		}
		key, value, _ := strings.Cut(word, "=")
		var err error
		switch key {
		case "server":
			c.Server = value
		case "epoch":
			c.Epoch, err = strconv.ParseUint(value, 10, 64)
		case "ip":
			c.IP = value
		case "gateway":
			c.Gateway = value
		case "disk":
			c.Disk = value
		case "app":
			c.App = value
		case "ack":
			c.Ack = value
		case "serve":
			c.Serve, err = strconv.Atoi(value)
		case "quiesce":
			c.Quiesce = value
		case "every":
			c.Every, err = time.ParseDuration(value)
		case "beat":
			c.Beat, err = time.ParseDuration(value)
		case "warm":
			c.Warm = true
		case "faults":
			c.Faults = true
		default:
			err = fmt.Errorf("no such word")
		}
		if err != nil {
			return c, fmt.Errorf("relight.%s: %w", word, err)
		}
	}
	if c.App == "" && c.Disk != "" {
		c.App = "probe"
	}
	return c, nil
}

// Tag is how a host tells its guest who it is where there is no command line: the
// asset tag of the machine's chassis (SMBIOS type 3).
func Tag(server string, epoch uint64) string { return fmt.Sprintf("relight/%s/%d", server, epoch) }

// ParseTag is the reverse of Tag.
func ParseTag(tag string) (server string, epoch uint64, ok bool) {
	f := strings.Split(strings.TrimSpace(tag), "/")
	if len(f) != 3 || f[0] != "relight" || f[1] == "" {
		return "", 0, false
	}
	n, err := strconv.ParseUint(f[2], 10, 64)
	return f[1], n, err == nil && n > 0
}
