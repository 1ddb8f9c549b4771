package virsh

import (
	"encoding/xml"
	"errors"
	"fmt"
	"math"
	"net"
	"regexp"
	"strconv"
	"strings"

	"relight/internal/core/fleet"
)

// markSpace is the XML namespace of the mark.
const markSpace = "urn:relight:instance"

// ErrXML is returned, wrapped with the reason, for a description that is none.
var ErrXML = errors.New("not the description of a domain")

// ErrTemplate: libvirt cannot be told to run this template.
var ErrTemplate = errors.New("libvirt does not run this")

// Domain is a virtual machine that libvirt knows.
type Domain struct {
	UUID, Name string
	State      State
	// Persistent domains are kept when they have ended; Autostart ones start with
	// their host.
	Persistent, Autostart bool

	// MemoryMiB is rounded up.
	MemoryMiB, CPUs int
	// Kernel, Initrd and Cmdline are set if libvirt boots a kernel itself.
	Kernel, Initrd, Cmdline string
	// Firmware is a file that replaces the BIOS.
	Firmware string
	Disks    []Disk
	NICs     []NIC
	// Console is the file of the first serial port, or empty.
	Console  string
	Watchdog bool

	// Made is whether we have defined it ourselves, from a template.
	Made bool
	// Server and Epoch are the mark: whose instance the domain is; empty without.
	Server string
	Epoch  fleet.Epoch
}

// Disk is one disk of a domain.
type Disk struct {
	// Device is disk, cdrom, lun or floppy; Target the guest's name for it.
	Device, Target string
	// LUN is set for a disk of a SAN; Source is what any other one is.
	LUN    *LUN
	Source string
}

// LUN is a unit of a SAN array as a domain names it.
type LUN struct {
	// Portal is address:port, IQN the target, Initiator who logs in; empty for the
	// host itself.
	Portal, IQN, Initiator string
	Unit                   int
}

// NIC is one network interface of a domain.
type NIC struct {
	MAC string
	// Bridge is the host's bridge, or empty; Network is what it is in otherwise.
	Bridge, Network string
}

type domainXML struct {
	XMLName xml.Name `xml:"domain"`
	Name    string   `xml:"name"`
	UUID    string   `xml:"uuid"`
	Text    string   `xml:"description"`
	Memory  struct {
		Unit  string `xml:"unit,attr"`
		Value string `xml:",chardata"`
	} `xml:"memory"`
	VCPU string `xml:"vcpu"`
	OS   struct {
		Loader  string `xml:"loader"`
		Kernel  string `xml:"kernel"`
		Initrd  string `xml:"initrd"`
		Cmdline string `xml:"cmdline"`
	} `xml:"os"`
	Metadata struct {
		Instance struct {
			Server string `xml:"server,attr"`
			Epoch  uint64 `xml:"epoch,attr"`
		} `xml:"urn:relight:instance instance"`
	} `xml:"metadata"`
	Devices struct {
		Disks      []diskXML `xml:"disk"`
		Interfaces []nicXML  `xml:"interface"`
		Serials    []struct {
			Type   string `xml:"type,attr"`
			Source struct {
				Path string `xml:"path,attr"`
			} `xml:"source"`
			Log struct {
				File string `xml:"file,attr"`
			} `xml:"log"`
		} `xml:"serial"`
		Watchdogs []struct {
			Model string `xml:"model,attr"`
		} `xml:"watchdog"`
	} `xml:"devices"`
}

type diskXML struct {
	Type   string `xml:"type,attr"`
	Device string `xml:"device,attr"`
	Target struct {
		Dev string `xml:"dev,attr"`
	} `xml:"target"`
	Source struct {
		File     string `xml:"file,attr"`
		Dev      string `xml:"dev,attr"`
		Pool     string `xml:"pool,attr"`
		Volume   string `xml:"volume,attr"`
		Protocol string `xml:"protocol,attr"`
		Name     string `xml:"name,attr"`
		Hosts    []struct {
			Name string `xml:"name,attr"`
			Port string `xml:"port,attr"`
		} `xml:"host"`
		Initiator struct {
			IQN struct {
				Name string `xml:"name,attr"`
			} `xml:"iqn"`
		} `xml:"initiator"`
	} `xml:"source"`
}

type nicXML struct {
	Type string `xml:"type,attr"`
	MAC  struct {
		Address string `xml:"address,attr"`
	} `xml:"mac"`
	Source struct {
		Bridge  string `xml:"bridge,attr"`
		Network string `xml:"network,attr"`
		Dev     string `xml:"dev,attr"`
	} `xml:"source"`
}

// ParseXML reads the description that virsh dumpxml prints. The state is not in it.
// Errors: ErrXML.
func ParseXML(text []byte) (Domain, error) {
	var x domainXML
	if err := xml.Unmarshal(text, &x); err != nil {
		return Domain{}, fmt.Errorf("%w: %w", ErrXML, err)
	}
	d := Domain{
		UUID: strings.TrimSpace(x.UUID), Name: strings.TrimSpace(x.Name),
		Kernel: x.OS.Kernel, Initrd: x.OS.Initrd, Cmdline: x.OS.Cmdline, Firmware: strings.TrimSpace(x.OS.Loader),
		Watchdog: len(x.Devices.Watchdogs) > 0, Made: x.Text == made,
		Server: x.Metadata.Instance.Server, Epoch: fleet.Epoch(x.Metadata.Instance.Epoch),
	}
	var err error
	if d.MemoryMiB, err = mebibytes(x.Memory.Value, x.Memory.Unit); err != nil {
		return Domain{}, err
	}
	if d.CPUs, err = strconv.Atoi(strings.TrimSpace(x.VCPU)); err != nil || d.CPUs < 1 {
		return Domain{}, fmt.Errorf("%w: %q CPUs", ErrXML, x.VCPU)
	}
	if d.Name == "" || !uuid.MatchString(d.UUID) {
		return Domain{}, fmt.Errorf("%w: it has no name or no UUID", ErrXML)
	}
	if d.Server != "" && (!ValidName(d.Server) || d.Epoch == 0) {
		d.Server, d.Epoch = "", 0 // not our mark, whoever wrote it
	}
	for _, s := range x.Devices.Disks {
		d.Disks = append(d.Disks, s.disk())
	}
	for _, n := range x.Devices.Interfaces {
		nic := NIC{MAC: n.MAC.Address, Network: n.Type + " " + n.Source.Network + n.Source.Dev}
		if n.Type == "bridge" || n.Type == "network" && n.Source.Bridge != "" {
			nic.Bridge = n.Source.Bridge
		}
		d.NICs = append(d.NICs, nic)
	}
	for _, s := range x.Devices.Serials {
		switch {
		case s.Type == "file" && s.Source.Path != "":
			d.Console = s.Source.Path
		case s.Log.File != "":
			d.Console = s.Log.File
		}
		if d.Console != "" {
			break
		}
	}
	return d, nil
}

// mebibytes reads an amount of memory; without a unit libvirt means KiB.
func mebibytes(value, unit string) (int, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 53)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%w: %q of memory", ErrXML, value)
	}
	factor := map[string]float64{
		"b": 1, "bytes": 1, "KB": 1e3, "": 1 << 10, "k": 1 << 10, "KiB": 1 << 10, "MB": 1e6, "M": 1 << 20, "MiB": 1 << 20,
		"GB": 1e9, "G": 1 << 30, "GiB": 1 << 30, "TB": 1e12, "T": 1 << 40, "TiB": 1 << 40,
	}[unit]
	mib := math.Ceil(float64(n) * factor / (1 << 20))
	if factor == 0 || mib > 1<<40 {
		return 0, fmt.Errorf("%w: %s %s of memory", ErrXML, value, unit)
	}
	return int(mib), nil
}

// byPath is a SAN disk that the host itself has logged in to.
var byPath = regexp.MustCompile(`^/dev/disk/by-path/ip-(.+)-iscsi-(.+)-lun-([0-9]{1,3})$`)

func (s diskXML) disk() Disk {
	d := Disk{Device: s.Device, Target: s.Target.Dev}
	if d.Device == "" {
		d.Device = "disk"
	}
	src := s.Source
	switch {
	case s.Type == "network" && src.Protocol == "iscsi" && len(src.Hosts) > 0:
		iqn, unit, found := strings.Cut(src.Name, "/")
		n, err := strconv.Atoi(unit)
		if !found {
			n, err = 0, nil // libvirt: without a unit it is 0
		}
		port := src.Hosts[0].Port
		if port == "" {
			port = "3260"
		}
		if err == nil && n >= 0 {
			d.LUN = &LUN{Portal: net.JoinHostPort(src.Hosts[0].Name, port), IQN: iqn, Unit: n, Initiator: src.Initiator.IQN.Name}
			return d
		}
		d.Source = "iscsi " + src.Name
	case s.Type == "network":
		d.Source = src.Protocol + " " + src.Name
	case s.Type == "block":
		if m := byPath.FindStringSubmatch(src.Dev); m != nil {
			n, _ := strconv.Atoi(m[3])
			d.LUN = &LUN{Portal: m[1], IQN: m[2], Unit: n}
			return d
		}
		d.Source = src.Dev
	case s.Type == "volume":
		d.Source = src.Pool + "/" + src.Volume
	default:
		d.Source = src.File
	}
	return d
}
