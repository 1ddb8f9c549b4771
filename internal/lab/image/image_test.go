package image

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// build makes the image in a cache that lasts over tests, as the lab does.
func build(t *testing.T) Image {
	t.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	img, err := Build(t.Context(), Options{Cache: filepath.Join(dir, "relight-guest")})
	if errors.Is(err, ErrTool) || errors.Is(err, ErrPackage) {
		t.Skipf("SKIPPED: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestBuild(t *testing.T) {
	img := build(t)
	for _, path := range []string{img.Kernel, img.Initrd} {
		if st, err := os.Stat(path); err != nil || st.Size() < 1<<20 || st.Size() > 16<<20 {
			t.Errorf("%s: %v, %v", path, st, err)
		}
	}
	if _, err := exec.LookPath("cpio"); err != nil {
		t.Skip("SKIPPED: needs cpio")
	}
	cmd := exec.Command("cpio", "-itv")
	in, err := os.Open(img.Initrd)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	cmd.Stdin = in
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{" init\n", " dev/console\n", " modules/order\n", " modules/virtio_blk.ko\n"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no%sin\n%s", want, out)
		}
	}
}

func TestModulesComeAfterWhatTheyNeed(t *testing.T) {
	img := build(t)
	paths, err := order(filepath.Join(filepath.Dir(img.Kernel), "modules"), modules)
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for i, p := range paths {
		at[canonical(strings.TrimSuffix(filepath.Base(p), ".ko"))] = i + 1
	}
	for _, pair := range [][2]string{{"virtio_ring", "virtio_pci"}, {"scsi_mod", "sd_mod"}, {"net_failover", "virtio_net"}} {
		if at[pair[0]] == 0 || at[pair[0]] > at[pair[1]] {
			t.Errorf("%s is at %d, %s at %d", pair[0], at[pair[0]], pair[1], at[pair[1]])
		}
	}
	if _, err := order(filepath.Dir(img.Kernel), []string{"no_such_module"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a module that does not exist gave %v", err)
	}
}

func TestArchiveIsTheSameEachTime(t *testing.T) {
	files := []file{{name: "a/b/c", mode: modeFile | 0o644, data: []byte("x")}, {name: "a/d", mode: modeFile | 0o644}}
	var one, two bytes.Buffer
	if err := errors.Join(archive(&one, files), archive(&two, files)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) || one.Len()%4 != 0 || !bytes.Contains(one.Bytes(), []byte("a/b\x00")) {
		t.Errorf("%q\n%q", one.Bytes(), two.Bytes())
	}
}

func TestWithoutPackagesItSaysWhatIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Build(t.Context(), Options{Cache: t.TempDir(), Guest: os.Args[0]})
	if !errors.Is(err, ErrTool) {
		t.Error(err)
	}
}

func TestBootDisk(t *testing.T) {
	img := build(t)
	path := filepath.Join(t.TempDir(), "boot.img")
	err := BootDisk(t.Context(), img, path, Disk{Cmdline: "quiet"})
	if errors.Is(err, ErrTool) {
		t.Skipf("SKIPPED: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || len(b) != DiskBytes || b[510] != 0x55 || b[446] != 0x80 {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	if fat := b[diskStart*sector:]; string(fat[3:11]) != "SYSLINUX" || fat[0x1c+1] != diskStart>>8 {
		t.Errorf("the partition is not bootable: % x", fat[:64])
	}
	err = BootDisk(t.Context(), Image{Initrd: img.Initrd}, path, Disk{SAN: true})
	if !errors.Is(err, ErrTool) {
		t.Errorf("without an initiator: %v", err)
	}
}
