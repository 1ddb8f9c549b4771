package demo

import (
	"bytes"
	"strings"
	"testing"

	"relight/internal/demo/app"
)

const (
	writerA = "aaaaaaaaaaaaaaaaaaaaaaaa"
	writerB = "bbbbbbbbbbbbbbbbbbbbbbbb"
)

// logOf writes a log; each record is a writer, its number and the id of a write.
func logOf(records ...app.Record) []byte {
	var b []byte
	for _, r := range records {
		r.Kind = app.Write
		if r.ID == 0 {
			r.Kind = app.Tick
		}
		b = append(b, r.Encode()...)
	}
	return b
}

func rec(writer string, seq, id uint64) app.Record {
	return app.Record{Writer: writer, Seq: seq, ID: id}
}

func TestCheck(t *testing.T) {
	good := logOf(rec(writerA, 1, 0), rec(writerA, 2, 11), rec(writerA, 3, 12), rec(writerB, 1, 0), rec(writerB, 2, 13))
	damaged := bytes.Clone(good)
	damaged[app.RecordSize+20] ^= 1
	for _, c := range []struct {
		name  string
		log   []byte
		acked []uint64
		want  Findings
		note  string
	}{
		{name: "one after the other", log: good, acked: []uint64{11, 12, 13}, want: Findings{Acked: 3, Records: 5, Writers: 2}},
		{name: "a write without an answer", log: good, acked: []uint64{11, 13}, want: Findings{Acked: 2, Records: 5, Writers: 2}},
		{name: "a torn end", log: append(bytes.Clone(good), "w 000"...), acked: []uint64{13}, want: Findings{Acked: 1, Records: 5, Writers: 2}, note: "torn"},
		{name: "a lost write", log: good, acked: []uint64{11, 12, 13, 14, 15}, want: Findings{Acked: 5, Records: 5, Writers: 2, AckedLost: 2}, note: "write 14 was acknowledged"},
		{
			name: "two writers in turns", log: logOf(rec(writerA, 1, 11), rec(writerB, 1, 0), rec(writerA, 2, 12), rec(writerB, 2, 13)), acked: []uint64{11, 12, 13},
			want: Findings{Acked: 3, Records: 4, Writers: 2, TwoWriters: 2}, note: "comes again",
		},
		{
			name: "two writers, one over the other", log: logOf(rec(writerA, 1, 11), rec(writerB, 3, 13)), acked: []uint64{11, 12, 13},
			want: Findings{Acked: 3, Records: 2, Writers: 2, TwoWriters: 1, AckedLost: 1}, note: "wrote over",
		},
		{
			name: "a write twice", log: logOf(rec(writerA, 1, 11), rec(writerA, 2, 11)), acked: []uint64{11},
			want: Findings{Acked: 1, Records: 2, Writers: 1, Duplicates: 1}, note: "twice",
		},
		{
			name: "a flipped bit", log: damaged, acked: []uint64{11, 12},
			want: Findings{Acked: 2, Records: 5, Writers: 2, AckedLost: 1, Damaged: 1, TwoWriters: 1}, note: "damaged",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := check(bytes.NewReader(c.log), c.acked)
			if err != nil {
				t.Fatal(err)
			}
			notes := strings.Join(got.Notes, "\n")
			if !strings.Contains(notes, c.note) || (c.note == "" && notes != "") {
				t.Errorf("notes: %s", notes)
			}
			bad := c.want.AckedLost+c.want.TwoWriters+c.want.Duplicates+c.want.Damaged > 0
			if got.OK() == bad {
				t.Errorf("OK is %v", got.OK())
			}
			got.Notes = nil
			if got.Acked != c.want.Acked || got.Records != c.want.Records || got.Writers != c.want.Writers || got.AckedLost != c.want.AckedLost ||
				got.TwoWriters != c.want.TwoWriters || got.Duplicates != c.want.Duplicates || got.Damaged != c.want.Damaged {
				t.Errorf("got %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestCheckOfAMissingLog(t *testing.T) {
	if f, err := Check(t.TempDir(), nil); err != nil || !f.OK() {
		t.Fatalf("an unused volume: %+v, %v", f, err)
	}
	if _, err := Check(t.TempDir(), []uint64{1}); err == nil {
		t.Fatal("a log that is gone with acknowledged writes passed")
	}
}
