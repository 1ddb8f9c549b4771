package sdk

import (
	"context"
	"net/url"
	"strings"

	"relight/internal/provider/aws/examine"
)

// examineRooms reads what is free on each Outpost that a server lives on or may go to. What
// one of them does not tell is kept with it: the others are read all the same.
func (c *Client) examineRooms(ctx context.Context, f *examine.Facts) {
	f.Rooms = map[string]examine.Room{}
	read := func(arn string) {
		if _, known := f.Rooms[arn]; known || arn == "" {
			return
		}
		free, err := c.room(ctx, arn)
		r := examine.Room{Free: free}
		if err != nil {
			r.Blind = err.Error()
		}
		f.Rooms[arn] = r
	}
	for _, n := range f.Subnets { // order: by ARN
		read(n.Outpost)
	}
	for _, s := range f.Servers {
		if e := s.Spec.Template.EC2.Elsewhere; e != nil {
			for _, z := range e.Zones {
				read(z.Outpost)
			}
		}
	}
}

// room is how many more instances of each machine type fit on an Outpost: the slots of its
// machines that take new ones, without those that any account's instances run in.
func (c *Client) room(ctx context.Context, arn string) (map[string]int, error) {
	base := "/outposts/" + arn[strings.LastIndexByte(arn, '/')+1:]
	slots := map[string]map[string]int{} // by machine, of those that take instances
	for next := ""; ; {
		var out struct {
			Assets []struct {
				ID      string `json:"AssetId"`
				Compute struct {
					State string
					Slots []struct {
						Type  string `json:"InstanceType"`
						Count int
					} `json:"InstanceTypeCapacities"`
				} `json:"ComputeAttributes"`
			}
			NextToken string
		}
		if err := c.rest(ctx, "outposts", base+"/assets", "ListAssets", paged(next), &out); err != nil {
			return nil, err
		}
		for _, a := range out.Assets {
			if a.Compute.State != "ACTIVE" {
				continue
			}
			slots[a.ID] = map[string]int{}
			for _, x := range a.Compute.Slots {
				slots[a.ID][x.Type] += x.Count
			}
		}
		if next = out.NextToken; next == "" {
			break
		}
	}
	for next := ""; ; {
		var out struct {
			Instances []struct {
				Asset string `json:"AssetId"`
				Type  string `json:"InstanceType"`
			} `json:"AssetInstances"`
			NextToken string
		}
		if err := c.rest(ctx, "outposts", base+"/assetInstances", "ListAssetInstances", paged(next), &out); err != nil {
			return nil, err
		}
		for _, i := range out.Instances {
			if slots[i.Asset] != nil {
				slots[i.Asset][i.Type]--
			}
		}
		if next = out.NextToken; next == "" {
			break
		}
	}
	free := map[string]int{}
	for _, a := range slots { // order: a sum
		for kind, n := range a { // order: a sum
			free[kind] += max(n, 0)
		}
	}
	return free, nil
}

func paged(next string) url.Values {
	if next == "" {
		return nil
	}
	return url.Values{"NextToken": {next}}
}
