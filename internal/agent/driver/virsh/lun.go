package virsh

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"

	"relight/internal/provider/onprem/link"
)

// WithDisks puts an epoch's LUNs into a domain's description, in place of all LUNs that
// it names: those were another epoch's, or somebody's own. What else is in it stays as
// it is, byte by byte; a disk that had a volume's name keeps its place in the machine.
// The secrets must be kept before it starts; see [Conn.KeepSecret]. Errors: ErrXML.
func WithDisks(text []byte, server string, disks []link.Disk) ([]byte, error) {
	found, at, err := findDisks(text)
	if err != nil {
		return nil, err
	}
	old, taken := map[string]foundDisk{}, map[string]bool{}
	replaced := func(f foundDisk) bool {
		return f.LUN != nil || slices.ContainsFunc(disks, func(d link.Disk) bool { return d.Volume == f.Target })
	}
	for _, f := range found {
		old[f.Target] = f
		taken[f.Target] = !replaced(f)
	}
	for _, d := range disks {
		taken[d.Volume] = true
	}
	var out bytes.Buffer
	out.Write(text[:at])
	for _, d := range disks {
		place := ""
		if f, has := old[d.Volume]; has {
			place = f.place
		} else {
			dev := targetOf(d.Volume, taken)
			taken[dev] = true
			place = "<target dev='" + dev + "' bus='" + busOf(dev) + "'/><serial>" + escaped(d.Volume) + "</serial>"
		}
		if err := writeDisk(&out, server, d, place); err != nil {
			return nil, err
		}
	}
	for _, f := range found {
		if replaced(f) {
			out.Write(text[at:f.from])
			at = f.to
		}
	}
	out.Write(text[at:])
	return out.Bytes(), nil
}

// foundDisk is a disk of a description, and where it stands there. place are those of its
// parts that say where the guest finds it.
type foundDisk struct {
	Disk
	from, to int64
	place    string
}

// findDisks lists the disks of a description, and where its devices begin.
func findDisks(text []byte) (found []foundDisk, devices int64, err error) {
	dec := xml.NewDecoder(bytes.NewReader(text))
	var path []string
	var now foundDisk
	var part int64
	devices = -1
	for {
		before := dec.InputOffset()
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, 0, fmt.Errorf("%w: %w", ErrXML, err)
		}
		switch t := tok.(type) {
		case xml.StartElement:
			path = append(path, t.Name.Local)
			switch in := strings.Join(path, "/"); {
			case in == "domain/devices":
				devices = dec.InputOffset()
			case in == "domain/devices/disk":
				now = foundDisk{from: before}
			case strings.HasPrefix(in, "domain/devices/disk/") && len(path) == 4:
				part = before
			}
		case xml.EndElement:
			switch in := strings.Join(path, "/"); in {
			case "domain/devices/disk":
				now.to = dec.InputOffset()
				var d diskXML
				if err := xml.Unmarshal(text[now.from:now.to], &d); err != nil {
					return nil, 0, fmt.Errorf("%w: %w", ErrXML, err)
				}
				now.Disk = d.disk()
				found = append(found, now)
			case "domain/devices/disk/target", "domain/devices/disk/boot", "domain/devices/disk/address", "domain/devices/disk/serial":
				now.place += string(text[part:dec.InputOffset()])
			}
			path = path[:len(path)-1]
		}
	}
	if devices < 0 || bytes.HasSuffix(text[:devices], []byte("/>")) {
		return nil, 0, fmt.Errorf("%w: it has no devices", ErrXML)
	}
	return found, devices, nil
}

// guestName is what a disk can be called in a domain.
var guestName = regexp.MustCompile(`^(vd|sd|hd)[a-z]{1,2}$`)

// targetOf is a free name for a volume's disk.
func targetOf(volume string, taken map[string]bool) string {
	if guestName.MatchString(volume) {
		return volume
	}
	for c := 'a'; c < 'z'; c++ {
		if dev := "vd" + string(c); !taken[dev] {
			return dev
		}
	}
	return "vdz"
}

func busOf(dev string) string {
	return map[string]string{"vd": "virtio", "sd": "scsi", "hd": "ide"}[dev[:2]]
}

func writeDisk(out *bytes.Buffer, server string, d link.Disk, place string) error {
	host, port, err := net.SplitHostPort(d.Portal)
	if err != nil {
		return fmt.Errorf("volume %s: portal: %w", d.Volume, err)
	}
	// The host must hold nothing back that the guest was told is durable: cache none.
	fmt.Fprintf(out, "<disk type='network' device='disk'><driver name='qemu' type='raw' cache='none'/>")
	if d.User != "" {
		fmt.Fprintf(out, "<auth username='%s'><secret type='iscsi' uuid='%s'/></auth>", escaped(d.User), secretID(server, d.Volume))
	}
	fmt.Fprintf(out, "<source protocol='iscsi' name='%s/%d'><host name='%s' port='%s'/><initiator><iqn name='%s'/></initiator></source>%s</disk>",
		escaped(d.Target), d.Unit, escaped(host), escaped(port), escaped(d.Initiator), place)
	return nil
}

func escaped(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder takes everything
	return b.String()
}

// secretID is where libvirt keeps the secret of a server's volume; each epoch's replaces
// the one before.
func secretID(server, volume string) string { return idOf("relight secret " + server + " " + volume) }

// idOf makes a UUID of a text, always the same.
func idOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	id := hex.EncodeToString(sum[:16])
	return fmt.Sprintf("%s-%s-5%s-8%s-%s", id[:8], id[8:12], id[13:16], id[17:20], id[20:32])
}
