package image

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
)

// sanModules make the guest's own kernel an initiator.
var sanModules = []string{"iscsi_tcp", "iscsi_ibft", "crc32c-intel"}

var libraryPath = regexp.MustCompile(`(/[^ ()]+\.so[^ ()]*) \(0x`)

// initiator collects Debian's iscsistart with its libraries; ok is false if it is
// not installed.
func initiator() (files []file, ok bool) {
	path, err := exec.LookPath("iscsistart")
	if err != nil {
		return nil, false
	}
	out, err := exec.Command("ldd", path).Output() //nolint:noctx // it reads one file
	if err != nil {
		return nil, false
	}
	files = []file{{name: "sbin/iscsistart", mode: modeFile | 0o755, from: path}}
	// It makes directories of its own below these.
	for _, dir := range []string{"etc", "run/lock", "var/lock", "var/lib"} {
		files = append(files, file{name: dir, mode: modeDir | 0o755})
	}
	for _, m := range libraryPath.FindAllSubmatch(out, -1) {
		lib := string(m[1])
		real, err := filepath.EvalSymlinks(lib)
		if err != nil {
			return nil, false
		}
		if _, err := os.Stat(real); err != nil {
			return nil, false
		}
		files = append(files, file{name: lib[1:], mode: modeFile | 0o755, from: real})
	}
	return files, true
}
