package sdk_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// services are the names that IAM has for what the clients call.
var services = map[string]string{
	"ec2": "ec2", "elb": "elasticloadbalancing", "elasticloadbalancingv2": "elasticloadbalancing", "route53": "route53", "sts": "sts",
	"scaling": "autoscaling", "autoscaling": "autoscaling", "sqs": "sqs", "servicequotas": "servicequotas", "monitoring": "cloudwatch", "kms": "kms", "iam": "iam", "outposts": "outposts",
}

// called returns the actions of AWS that a file calls.
func called(t *testing.T, path string) (out []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, is := n.(*ast.CallExpr)
		if !is {
			return true
		}
		f, is := call.Fun.(*ast.SelectorExpr)
		if !is {
			return true
		}
		switch on := f.X.(type) {
		case *ast.SelectorExpr: // c.ec2.RunInstances(…)
			if s := services[on.Sel.Name]; s != "" {
				out = append(out, s+":"+f.Sel.Name)
			}
		case *ast.CallExpr: // servicequotas.NewFromConfig(…).GetServiceQuota(…)
			if made, is := on.Fun.(*ast.SelectorExpr); is && made.Sel.Name == "NewFromConfig" {
				out = append(out, services[made.X.(*ast.Ident).Name]+":"+f.Sel.Name)
			}
		case *ast.Ident:
			if name, pages := strings.CutSuffix(f.Sel.Name, "Paginator"); pages { // ec2.NewDescribeVolumesPaginator(…)
				out = append(out, services[on.Name]+":"+strings.TrimPrefix(name, "New"))
			}
			if slices.Contains([]string{"query", "json11", "rest"}, f.Sel.Name) { // c.query(ctx, "monitoring", version, "DescribeAlarms", …)
				service, _ := strconv.Unquote(call.Args[1].(*ast.BasicLit).Value)
				action, _ := strconv.Unquote(call.Args[3].(*ast.BasicLit).Value)
				out = append(out, services[service]+":"+action)
			}
		}
		return true
	})
	return out
}

// granted reads the actions that a text of the guide lists: a service stands before the
// first of its actions only.
func granted(text string) map[string]bool {
	out, service := map[string]bool{}, ""
	for _, m := range regexp.MustCompile("`(?:([a-z0-9]+):)?([A-Z][A-Za-z0-9]*\\*?)`").FindAllStringSubmatch(text, -1) {
		if m[1] != "" {
			service = m[1]
		}
		out[service+":"+m[2]] = true
	}
	return out
}

// others are the actions that nobody here calls and EC2 asks for all the same.
var others = []string{"iam:PassRole", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKeyWithoutPlaintext"}

// Whoever grants what the guide lists, and no more, grants every action that is called:
// the controller's in the first list, those of import and doctor in the second.
func TestGuideListsAllRights(t *testing.T) {
	guide, err := os.ReadFile("../../../../docs/guide/aws.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rights, _ := strings.Cut(string(guide), "\n## Rights\n")
	rights, _, _ = strings.Cut(rights, "\n## ")
	first, second, is := strings.Cut(strings.TrimSpace(rights), "\n\n")
	if !is {
		t.Fatal("the guide's chapter of rights has no two parts")
	}
	of, all, seen := granted(first), granted(rights), map[string]bool{}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := f.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		looks := strings.HasPrefix(name, "capture") || strings.HasPrefix(name, "examine") || strings.HasPrefix(name, "rights")
		for _, action := range called(t, name) {
			seen[action] = true
			switch {
			case !all[action]:
				t.Errorf("%s calls %s, which docs/guide/aws.md does not list under Rights", name, action)
			case !looks && !of[action]:
				t.Errorf("%s calls %s for the controller, and docs/guide/aws.md lists it only for import or doctor", name, action)
			}
		}
	}
	for _, action := range []string{
		"ec2:CreateNetworkInterface", "ec2:DescribeVolumes", "elasticloadbalancing:DescribeTargetGroups", "route53:ChangeResourceRecordSets", "sts:GetCallerIdentity",
		"autoscaling:DescribeAutoScalingInstances", "sqs:DeleteMessage", "cloudwatch:DescribeAlarms", "kms:CreateGrant", "iam:SimulatePrincipalPolicy", "outposts:ListAssets", "servicequotas:GetServiceQuota", "servicequotas:ListServiceQuotas",
	} {
		if !seen[action] {
			t.Errorf("the call of %s is not found in the source", action)
		}
	}
	for _, action := range slices.Sorted(maps.Keys(all)) {
		if !seen[action] && !slices.Contains(others, action) {
			t.Errorf("docs/guide/aws.md asks for %s, which nobody calls", action)
		}
	}
	if len(granted(second)) == 0 {
		t.Error("nothing is listed for import and doctor")
	}
}
