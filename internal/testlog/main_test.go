package main

import (
	"bytes"
	"strings"
	"testing"
)

// What passes is one line, what fails is shown whole, what could not run is named.
func TestShow(t *testing.T) {
	in := `{"Action":"run","Package":"a","Test":"TestGood"}
{"Action":"output","Package":"a","Test":"TestGood","Output":"    x_test.go:1: noise\n"}
{"Action":"pass","Package":"a","Test":"TestGood"}
{"Action":"output","Package":"a","Output":"PASS\n"}
{"Action":"output","Package":"a","Output":"ok  \ta\t0.1s\n"}
{"Action":"pass","Package":"a"}
{"Action":"run","Package":"b","Test":"TestBad"}
{"Action":"output","Package":"b","Test":"TestBad","Output":"    y_test.go:2: it broke\n"}
{"Action":"output","Package":"b","Test":"TestBad","Output":"--- FAIL: TestBad (0.00s)\n"}
{"Action":"fail","Package":"b","Test":"TestBad"}
{"Action":"run","Package":"b","Test":"TestVM"}
{"Action":"output","Package":"b","Test":"TestVM","Output":"    z_test.go:3: SKIPPED: needs root\n"}
{"Action":"skip","Package":"b","Test":"TestVM"}
{"Action":"run","Package":"b","Test":"TestHangs"}
{"Action":"output","Package":"b","Test":"TestHangs","Output":"panic: test timed out\n"}
{"Action":"output","Package":"b","Output":"FAIL\tb\t0.1s\n"}
{"Action":"fail","Package":"b"}
{"ImportPath":"c","Action":"build-output","Output":"c.go:1:1: no such thing\n"}
go: something else
`
	want := "ok  \ta\t0.1s\n" +
		"    y_test.go:2: it broke\n--- FAIL: TestBad (0.00s)\npanic: test timed out\nFAIL\tb\t0.1s\n" +
		"c.go:1:1: no such thing\ngo: something else\nSKIPPED b TestVM: needs root\n"
	var got bytes.Buffer
	show(strings.NewReader(in), &got)
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}
