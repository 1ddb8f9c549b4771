package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
	"relight/internal/provider/aws/sdk"
	"relight/internal/provider/aws/stage"
	"relight/internal/spec"
)

// Somebody changes the instance behind its document: the doctor names the fields, whoever
// looks there first, and how to take them over. What could not be read is no drift.
func TestDoctorAWS_Drift(t *testing.T) {
	st, id := account(t)
	st.Endpoint.SetQuota("L-1216C47A", 64)
	file := filepath.Join(t.TempDir(), "lic-07.yaml")
	if code, _, errs := relight(t, "import", "aws", id, "--adopt", "--name", "lic-07", "--out", file); code != client.ExitOK {
		t.Fatal(errs)
	}
	drift := func(of ...string) (told []client.DoctorCheck) {
		t.Helper()
		code, r, out := examined(t, of...)
		if code != client.ExitOK {
			t.Errorf("exit %d:\n%s", code, out)
		}
		for _, c := range r.Checks {
			if strings.Contains(c.Detail, "has drifted") || c.Name == "drift" {
				told = append(told, c)
			}
		}
		return told
	}
	cloud, err := sdk.Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	succeeds(t, func() error { _, err := cloud.Checks(t.Context(), "", []string{id}); return err })
	if told := drift("-f", file); len(told) > 0 {
		t.Errorf("nothing was changed: %+v", told)
	}
	if err := cloud.Tag(t.Context(), id, map[string]string{"team": "billing"}); err != nil {
		t.Fatal(err)
	}
	told := drift("-f", file)
	if len(told) != 1 || told[0].State != client.DoctorWarn || told[0].Name != "server lic-07" || !strings.Contains(told[0].Detail, id+" has drifted from what is declared: + spec.template.ec2.launch.tags.team: \"billing\"") ||
		!strings.Contains(told[0].Next, "relight import aws "+id+" --name lic-07 --out lic-07.yaml") {
		t.Errorf("%+v", told)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	docs, err := spec.Parse(spec.File{Name: file, Data: text})
	if err != nil {
		t.Fatal(err)
	}
	engine(t, docs[0])
	if same := drift(); !reflect.DeepEqual(same, told) {
		t.Errorf("the engine's document: %+v", same)
	}
	engine(t, docs[0], fleet.Status{Away: &fleet.Away{Zone: stage.Region + "b"}})
	if told := drift(); len(told) > 0 {
		t.Errorf("it is away, as relight why says: %+v", told)
	}
	st.Endpoint.Deny("ec2:DescribeInstanceTypes")
	if told := drift("-f", file); len(told) != 1 || told[0].Name != "drift" || !strings.Contains(told[0].Detail, "lic-07 (its machine type: ") {
		t.Errorf("%+v", told)
	}
	st.Endpoint.Allow("ec2:DescribeInstanceTypes")
	if code, _, errs := relight(t, "import", "aws", id, "--name", "lic-07", "--out", file); code != client.ExitOK {
		t.Fatal(errs)
	}
	if told := drift("-f", file); len(told) > 0 {
		t.Errorf("it was taken over: %+v", told)
	}
}
