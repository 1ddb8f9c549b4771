package guest

import (
	"fmt"
	"time"
)

// app works with the data volume for ever.
func (g *inside) app() {
	<-g.told
	for last := ""; ; time.Sleep(100 * time.Millisecond) {
		err := g.work()
		if g.exited.Load() {
			g.set(Fails, "it was told to exit")
			return
		}
		if text := fmt.Sprint(err); text != last { // a console that repeats itself hides the rest
			last = text
			say("%s: %s", g.cfg.App, text)
		}
		g.fail(err)
	}
}

func (g *inside) work() error {
	d, err := g.open()
	if err != nil {
		return err
	}
	defer func() { _ = d.f.Close() }()
	switch g.cfg.App {
	case "writer":
		return g.write(d)
	case "probe":
		return g.probe(d)
	default:
		return fmt.Errorf("app %q is unknown", g.cfg.App)
	}
}

// open waits for the disk: it may be plugged in long after the boot.
func (g *inside) open() (*disk, error) {
	var d *disk
	err := wait(func() error {
		path, err := findDisk(g.sys, g.cfg.Disk)
		if err == nil {
			d, err = openDisk(path, g.cfg.App == "writer")
		}
		return err
	})
	return d, err
}

// halted blocks while the guest pretends to hang, and reports whether it is to end.
func (g *inside) halted() bool {
	for g.hung.Load() {
		time.Sleep(100 * time.Millisecond)
	}
	return g.exited.Load()
}

// write appends records, and tells each one once it is durable.
func (g *inside) write(d *disk) error {
	g.mu.Lock()
	rec := Record{Epoch: g.epoch, Server: HashServer(g.server)}
	server := g.server
	g.mu.Unlock()
	log, err := ReadLog(d.f, d.size, false)
	if err != nil {
		return err
	}
	if err := log.Fit(server); err != nil {
		return err
	}
	if log.Last.Epoch > rec.Epoch {
		// What is there is newer than this guest: it must not write at all.
		return fmt.Errorf("the volume has records of epoch %d, this is %d", log.Last.Epoch, rec.Epoch)
	}
	var ack *datagrams
	if g.cfg.Ack != "" {
		if ack, err = dialUDP(g.cfg.Ack); err != nil {
			return err
		}
	}
	say("the last record is %d of epoch %d", log.Last.Seq, log.Last.Epoch)
	buf := aligned(RecordSize)
	for first := true; !g.halted(); first = false {
		rec.Seq = max(rec.Seq, log.Last.Seq) + 1
		rec.Put(buf)
		g.writing.Lock()
		_, err := d.f.WriteAt(buf, int64(rec.Seq%log.Blocks)*RecordSize)
		g.writing.Unlock()
		if err != nil {
			return err
		}
		g.progress.Store(rec.Seq)
		if ack != nil {
			ack.send(fmt.Sprintf("ack %s %d %d\n", server, rec.Epoch, rec.Seq))
		}
		if first {
			g.set(Works, "")
			say("record %d is durable", rec.Seq)
		}
		time.Sleep(g.cfg.Every)
	}
	return nil
}

// probe reads one block again and again, so that beats show whether the volume
// answers though the guest's own applications are idle.
func (g *inside) probe(d *disk) error {
	buf := aligned(4096)
	for !g.halted() {
		if _, err := d.f.ReadAt(buf, 0); err != nil {
			return err
		}
		if g.progress.Add(1) == 1 {
			g.set(Works, "")
		}
		time.Sleep(max(g.cfg.Every, g.cfg.Beat))
	}
	return nil
}
