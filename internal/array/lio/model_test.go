package lio

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"

	"relight/internal/array/arraytest"
	"relight/internal/array/iscsi"
)

// kernel is a strict model of the target's configfs tree: it knows each directory
// that may be made and each file that is there, refuses all else, and lets log in
// whom the tree says.
type kernel struct {
	mu    sync.Mutex
	dirs  map[string]bool   // made by somebody
	files map[string]string // made by the kernel, with their text
	links map[string]string
	disks map[string]*arraytest.Disk // by backing file; they outlive a restart
	plane *arraytest.Plane
}

func newKernel() *kernel {
	k := &kernel{disks: map[string]*arraytest.Disk{}}
	k.plane = &arraytest.Plane{Admit: k.admit, Sees: k.sees}
	k.boot()
	return k
}

func (k *kernel) boot() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dirs, k.files, k.links = map[string]bool{"core": true}, map[string]string{}, map[string]string{}
	k.plane.Kill(func(arraytest.Listed) bool { return true })
}

// rules say which directories may be made, and which files and directories the
// kernel puts into them.
var rules = []struct {
	dir   *regexp.Regexp
	files map[string]string
	dirs  []string
}{
	{regexp.MustCompile(`^core/fileio_[0-9]+$`), map[string]string{"hba_info": "", "hba_mode": ""}, nil},
	{regexp.MustCompile(`^core/fileio_[0-9]+/[a-z0-9._-]+$`), map[string]string{"control": "", "enable": "0", "info": "", "wwn/vpd_unit_serial": ""}, nil},
	{regexp.MustCompile(`^iscsi$`), map[string]string{"cpus_allowed_list": "", "lio_version": ""}, nil},
	{regexp.MustCompile(`^iscsi/iqn\.[^/]+$`), nil, nil},
	{
		regexp.MustCompile(`^iscsi/iqn\.[^/]+/tpgt_[0-9]+$`),
		map[string]string{"enable": "0", "attrib/authentication": "1", "attrib/generate_node_acls": "0", "dynamic_sessions": ""},
		[]string{"acls", "lun", "np"},
	},
	{regexp.MustCompile(`^iscsi/iqn\.[^/]+/tpgt_[0-9]+/lun/lun_[0-9]+$`), nil, nil},
	{regexp.MustCompile(`^iscsi/iqn\.[^/]+/tpgt_[0-9]+/np/[0-9.]+:[0-9]+$`), nil, nil},
	{
		regexp.MustCompile(`^iscsi/iqn\.[^/]+/tpgt_[0-9]+/acls/iqn\.[^/]+$`),
		map[string]string{"auth/userid": "", "auth/password": "", "info": ""},
		nil,
	},
	{regexp.MustCompile(`^iscsi/iqn\.[^/]+/tpgt_[0-9]+/acls/iqn\.[^/]+/lun_[0-9]+$`), map[string]string{"write_protect": "0"}, nil},
}

func fail(op, p string, err error) error { return &fs.PathError{Op: op, Path: p, Err: err} }

func (k *kernel) Mkdir(p string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dirs[p] {
		return fail("mkdir", p, syscall.EEXIST)
	}
	if !k.dirs[path.Dir(p)] && p != "iscsi" {
		return fail("mkdir", p, syscall.ENOENT)
	}
	for _, r := range rules {
		if r.dir.MatchString(p) {
			k.dirs[p] = true
			for f, text := range r.files {
				k.files[p+"/"+f] = text
			}
			for _, d := range r.dirs {
				k.dirs[p+"/"+d] = true
			}
			return nil
		}
	}
	return fail("mkdir", p, syscall.EPERM)
}

// own reports whether the kernel made the directory itself.
func own(p string) bool {
	return slices.Contains([]string{"acls", "lun", "np"}, path.Base(p)) || !strings.Contains(p, "/")
}

func (k *kernel) Rmdir(p string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case !k.dirs[p]:
		return fail("rmdir", p, syscall.ENOENT)
	case own(p):
		return fail("rmdir", p, syscall.EPERM)
	}
	for d := range k.dirs {
		if strings.HasPrefix(d, p+"/") && !own(d) {
			return fail("rmdir", p, syscall.ENOTEMPTY)
		}
	}
	for l, target := range k.links {
		if path.Dir(l) == p {
			return fail("rmdir", p, syscall.ENOTEMPTY)
		}
		if target == p {
			return fail("rmdir", p, syscall.EBUSY)
		}
	}
	if path.Base(path.Dir(p)) == "acls" { // ends the initiator's sessions, and waits
		k.drop(func(c iscsi.Config) bool {
			return strings.HasPrefix(p, "iscsi/"+c.Target+"/") && path.Base(p) == c.Initiator
		})
		for _, d := range k.disks {
			d.Forget(path.Base(p))
		}
	}
	if file, of := k.backs(p); of {
		delete(k.disks, file) // the kernel closes it, and opens what has its name next time
	}
	for d := range k.dirs {
		if d == p || strings.HasPrefix(d, p+"/") {
			delete(k.dirs, d)
		}
	}
	for f := range k.files {
		if strings.HasPrefix(f, p+"/") {
			delete(k.files, f)
		}
	}
	return nil
}

// backs is the file of a backing store.
func (k *kernel) backs(p string) (string, bool) {
	text, of := strings.CutPrefix(k.files[p+"/control"], "fd_dev_name=")
	file, _, _ := strings.Cut(text, ",")
	return file, of
}

// onFile is the kernel's file I/O: it goes on with the file that it opened, whatever
// has its name later.
func onFile(name string, size int64) (*arraytest.Disk, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := syscall.Mmap(int(f.Fd()), 0, int(size), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	disk := arraytest.DiskOn(data)
	disk.ByName = true
	return disk, nil
}

func (k *kernel) drop(which func(iscsi.Config) bool) {
	k.plane.Kill(func(l arraytest.Listed) bool { return which(l.Config) })
}

func (k *kernel) Symlink(target, p string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.links[p] != "":
		return fail("symlink", p, syscall.EEXIST)
	case !k.dirs[path.Dir(p)] || !k.dirs[target]:
		return fail("symlink", p, syscall.ENOENT)
	}
	for l := range k.links {
		if path.Dir(l) == path.Dir(p) {
			return fail("symlink", p, syscall.EEXIST) // one object for one unit
		}
	}
	switch {
	case strings.HasPrefix(target, "core/") && k.files[target+"/enable"] == "1" && path.Base(path.Dir(path.Dir(p))) == "lun":
	case strings.Contains(target, "/lun/lun_") && strings.Contains(p, "/acls/") && strings.HasPrefix(p, path.Dir(path.Dir(target))+"/"):
	default:
		return fail("symlink", p, syscall.EINVAL)
	}
	k.links[p] = target
	return nil
}

func (k *kernel) Unlink(p string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.links[p] == "" {
		return fail("unlink", p, syscall.ENOENT)
	}
	for _, target := range k.links {
		if target == path.Dir(p) {
			return fail("unlink", p, syscall.EBUSY) // an initiator still has the unit
		}
	}
	delete(k.links, p)
	return nil
}

func (k *kernel) Readlink(p string) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if to := k.links[p]; to != "" {
		return "../../../../../../target/" + to, nil
	}
	if _, ok := k.files[p]; ok || k.dirs[p] {
		return "", fail("readlink", p, syscall.EINVAL)
	}
	return "", fail("readlink", p, syscall.ENOENT)
}

func (k *kernel) Write(p, text string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.files[p]; !ok {
		return fail("write", p, syscall.ENOENT)
	}
	dir, name := path.Dir(p), path.Base(p)
	switch {
	case name == "info" || name == "dynamic_sessions":
		return fail("write", p, syscall.EACCES)
	case name == "enable" && text == "1" && strings.HasPrefix(p, "core/"):
		var file string
		var size int64
		if n, _ := fmt.Sscanf(strings.ReplaceAll(k.files[dir+"/control"], ",", " "), "fd_dev_name=%s fd_dev_size=%d", &file, &size); n != 2 || k.files[p] == "1" {
			return fail("write", p, syscall.EINVAL)
		}
		if k.disks[file] == nil {
			disk, err := onFile(file, size)
			if err != nil {
				return fail("write", p, err)
			}
			k.disks[file] = disk
		}
	case name == "enable" && text == k.files[p] && strings.HasPrefix(p, "iscsi/") && text == "1":
		return fail("write", p, syscall.EINVAL) // it is enabled already
	case name == "enable" && text == "0":
		k.drop(func(c iscsi.Config) bool { return strings.HasPrefix(p, "iscsi/"+c.Target+"/") })
	case strings.HasPrefix(p, "core/") && k.files[dir+"/enable"] == "1":
		return fail("write", p, syscall.EPERM)
	}
	k.files[p] = text
	return nil
}

func (k *kernel) Read(p string) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	text, ok := k.files[p]
	if !ok {
		return "", fail("read", p, syscall.ENOENT)
	}
	if path.Base(p) == "info" && strings.HasPrefix(p, "core/") {
		file, _ := k.backs(path.Dir(p))
		return "Status: ACTIVATED  Max Queue Depth: 0  SectorSize: 512  HwMaxSectors: 16384\n        TCM FILEIO ID: 0        File: " + file + "  Size: 1  Mode: O_DSYNC Async: 0", nil
	}
	if path.Base(p) == "info" {
		text = "No active iSCSI Session for Initiator Endpoint: " + path.Base(path.Dir(p))
		for _, l := range k.plane.Sessions() {
			if strings.HasPrefix(p, "iscsi/"+l.Config.Target+"/") && l.Config.Initiator == path.Base(path.Dir(p)) {
				text = fmt.Sprintf("InitiatorName: %s\nInitiatorAlias: \nLIO Session ID: %d   ISID: 0x%x  TSIH: %d", l.Config.Initiator, l.ID, l.Config.ISID, l.ID)
			}
		}
	}
	return text, nil
}

func (k *kernel) List(p string) ([]string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.dirs[p] {
		return nil, fail("list", p, syscall.ENOENT)
	}
	var names []string
	add := func(full string) {
		if rest, ok := strings.CutPrefix(full, p+"/"); ok {
			name, _, _ := strings.Cut(rest, "/")
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	for d := range k.dirs {
		add(d)
	}
	for f := range k.files {
		add(f)
	}
	for l := range k.links {
		add(l)
	}
	return names, nil
}

// admit is the kernel's login.
func (k *kernel) admit(c iscsi.Config) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	group := "iscsi/" + c.Target + "/tpgt_1"
	acl := group + "/acls/" + c.Initiator
	switch {
	case !k.dirs[group] || k.files[group+"/enable"] != "1" || !k.dirs[group+"/np/"+c.Portal]:
		return &iscsi.LoginError{Class: 2, Detail: 3}
	case k.files[group+"/attrib/authentication"] == "1" && (c.User == "" || k.dirs[acl] && (c.User != k.files[acl+"/auth/userid"] || c.Secret != k.files[acl+"/auth/password"])):
		return &iscsi.LoginError{Class: 2, Detail: 1}
	case !k.dirs[acl] && k.files[group+"/attrib/generate_node_acls"] != "1":
		return &iscsi.LoginError{Class: 2, Detail: 2}
	}
	return nil
}

// sees is the kernel's map, which it looks up with each command.
func (k *kernel) sees(c iscsi.Config, unit int) *arraytest.Disk {
	k.mu.Lock()
	defer k.mu.Unlock()
	mapped := k.links[fmt.Sprintf("iscsi/%s/tpgt_1/acls/%s/lun_%d/unit", c.Target, c.Initiator, unit)]
	for l, back := range k.links {
		if mapped != "" && path.Dir(l) == mapped {
			file, _ := k.backs(back)
			return k.disks[file]
		}
	}
	return nil
}
