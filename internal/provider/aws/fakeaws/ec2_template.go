package fakeaws

import (
	"fmt"
	"strconv"
	"time"
)

// template is a launch template with its versions, the first at 1.
type template struct {
	ID, Name string
	Created  time.Time
	Tags     map[string]string
	Versions []*templateVersion
}

type templateVersion struct {
	template    string
	number      int
	description string
	order       order
	created     time.Time
}

func (e *Endpoint) findTemplate(id, name string) (*template, error) {
	for _, k := range sorted(e.cat.templates) {
		if t := e.cat.templates[k]; t.ID == id || id == "" && t.Name == name {
			return t, nil
		}
	}
	return nil, refuse("InvalidLaunchTemplateId.NotFound", "The specified launch template %s%s does not exist.", id, name)
}

// templateVersion finds a version by number, $Latest or $Default (the first).
func (e *Endpoint) templateVersion(id, name, version string) (*templateVersion, error) {
	t, err := e.findTemplate(id, name)
	if err != nil {
		return nil, err
	}
	switch version {
	case "", "$Default":
		return t.Versions[0], nil
	case "$Latest":
		return t.Versions[len(t.Versions)-1], nil
	}
	n, err := strconv.Atoi(version)
	if err != nil || n < 1 || n > len(t.Versions) {
		return nil, refuse("InvalidLaunchTemplateId.VersionNotFound", "Could not find the specified version %s for the launch template with ID %s.", version, t.ID)
	}
	return t.Versions[n-1], nil
}

func (e *Endpoint) newVersion(t *template, f form) error {
	data, _ := f.sub("LaunchTemplateData")
	v := &templateVersion{template: t.ID, number: len(t.Versions) + 1, description: f.get("VersionDescription"), created: e.w.Now()}
	if err := e.overlay(&v.order, data); err != nil {
		return err
	}
	v.order.Tags = specTags(data, "instance")
	t.Versions = append(t.Versions, v)
	return nil
}

type templateXML struct {
	ID      string    `xml:"launchTemplateId"`
	Name    string    `xml:"launchTemplateName"`
	Created time.Time `xml:"createTime"`
	Default int       `xml:"defaultVersionNumber"`
	Latest  int       `xml:"latestVersionNumber"`
	Tags    []tagXML  `xml:"tagSet>item"`
}

func (t *template) xml() templateXML {
	return templateXML{t.ID, t.Name, t.Created, 1, len(t.Versions), tagSet(t.Tags)}
}

func (e *Endpoint) createTemplate(f form) (any, error) {
	name, token := f.get("LaunchTemplateName"), f.get("ClientToken")
	tags := specTags(f, "launch-template")
	id, err := e.once(token, f, func() (string, error) {
		if _, err := e.findTemplate("", name); err == nil {
			return "", refuse("InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use.")
		}
		t := &template{ID: fmt.Sprintf("lt-%017x", e.next()), Name: name, Created: e.w.Now(), Tags: tags}
		if err := e.newVersion(t, f); err != nil {
			return "", err
		}
		e.cat.templates[t.ID] = t
		return t.ID, nil
	})
	if err != nil {
		return nil, err
	}
	return struct {
		T templateXML `xml:"launchTemplate"`
	}{e.cat.templates[id].xml()}, nil
}

func (e *Endpoint) createTemplateVersion(f form) (any, error) {
	t, err := e.findTemplate(f.get("LaunchTemplateId"), f.get("LaunchTemplateName"))
	if err != nil {
		return nil, err
	}
	number, err := e.once(f.get("ClientToken"), f, func() (string, error) {
		if err := e.newVersion(t, f); err != nil {
			return "", err
		}
		return strconv.Itoa(len(t.Versions)), nil
	})
	if err != nil {
		return nil, err
	}
	n, _ := strconv.Atoi(number)
	return struct {
		V templateVersionXML `xml:"launchTemplateVersion"`
	}{e.versionXML(t, t.Versions[n-1])}, nil
}

func (e *Endpoint) describeTemplates(f form) (any, error) {
	ids, names, filters := f.list("LaunchTemplateId"), f.list("LaunchTemplateName"), f.filters()
	if err := known(filters, "launch-template-name", "tag:*", "tag-key"); err != nil {
		return nil, err
	}
	var out struct {
		Items []templateXML `xml:"launchTemplates>item"`
		Next  string        `xml:"nextToken,omitempty"`
	}
	for _, id := range pick(ids, e.cat.templates) {
		t, err := e.findTemplate(id, "")
		if err != nil {
			return nil, err
		}
		if len(names) > 0 && !keep(map[string][]string{"n": names}, "n", t.Name) {
			continue
		}
		if keep(filters, "launch-template-name", t.Name) && keepTags(filters, t.Tags) {
			out.Items = append(out.Items, t.xml())
		}
	}
	var err error
	out.Items, out.Next, err = page(f, out.Items, 200)
	return out, err
}

type templateVersionXML struct {
	ID          string          `xml:"launchTemplateId"`
	Name        string          `xml:"launchTemplateName"`
	Number      int             `xml:"versionNumber"`
	Description string          `xml:"versionDescription,omitempty"`
	Created     time.Time       `xml:"createTime"`
	Default     bool            `xml:"defaultVersion"`
	Data        templateDataXML `xml:"launchTemplateData"`
}

type templateTagsXML struct {
	Kind string   `xml:"resourceType"`
	Tags []tagXML `xml:"tagSet>item"`
}

type templateInterfaceXML struct {
	Index  int    `xml:"deviceIndex"`
	ID     string `xml:"networkInterfaceId,omitempty"`
	Subnet string `xml:"subnetId,omitempty"`
}

type templateDataXML struct {
	Image        string                 `xml:"imageId,omitempty"`
	Type         string                 `xml:"instanceType,omitempty"`
	Key          string                 `xml:"keyName,omitempty"`
	UserData     string                 `xml:"userData,omitempty"`
	EBSOptimized bool                   `xml:"ebsOptimized,omitempty"`
	Profile      *profileXML            `xml:"iamInstanceProfile,omitempty"`
	Groups       []string               `xml:"securityGroupIdSet>item"`
	Tags         []templateTagsXML      `xml:"tagSpecificationSet>item"`
	Metadata     *metadataXML           `xml:"metadataOptions,omitempty"`
	Maintenance  *maintenanceXML        `xml:"maintenanceOptions,omitempty"`
	Interfaces   []templateInterfaceXML `xml:"networkInterfaceSet>item"`
	Placement    *placementXML          `xml:"placement,omitempty"`
}

func (e *Endpoint) versionXML(t *template, v *templateVersion) templateVersionXML {
	o := v.order
	x := templateVersionXML{ID: t.ID, Name: t.Name, Number: v.number, Description: v.description, Created: v.created, Default: v.number == 1}
	x.Data = templateDataXML{Image: o.Image, Type: o.Type, Key: o.Key, UserData: o.UserData, EBSOptimized: o.EBSOptimized, Groups: o.Groups}
	if o.Profile != "" {
		x.Data.Profile = &profileXML{ARN: o.Profile}
	}
	if len(o.Tags) > 0 {
		x.Data.Tags = []templateTagsXML{{"instance", tagSet(o.Tags)}}
	}
	if o.Metadata != (Metadata{}) {
		x.Data.Metadata = &metadataXML{Tokens: o.Metadata.Tokens, HopLimit: o.Metadata.HopLimit, Endpoint: o.Metadata.Endpoint}
	}
	if o.AutoRecovery != "" {
		x.Data.Maintenance = &maintenanceXML{o.AutoRecovery}
	}
	for n, id := range o.interfaces {
		x.Data.Interfaces = append(x.Data.Interfaces, templateInterfaceXML{Index: n, ID: id})
	}
	if len(o.interfaces) == 0 && o.Subnet != "" {
		x.Data.Interfaces = []templateInterfaceXML{{Subnet: o.Subnet}}
	}
	if o.Tenancy != "" || o.zone != "" {
		x.Data.Placement = &placementXML{Zone: o.zone, Tenancy: o.Tenancy}
	}
	return x
}

func (e *Endpoint) describeTemplateVersions(f form) (any, error) {
	t, err := e.findTemplate(f.get("LaunchTemplateId"), f.get("LaunchTemplateName"))
	if err != nil {
		return nil, err
	}
	var out struct {
		Items []templateVersionXML `xml:"launchTemplateVersionSet>item"`
		Next  string               `xml:"nextToken,omitempty"`
	}
	want := f.list("LaunchTemplateVersion")
	if len(want) == 0 {
		for _, v := range t.Versions {
			out.Items = append(out.Items, e.versionXML(t, v))
		}
	}
	for _, name := range want {
		v, err := e.templateVersion(t.ID, "", name)
		if err != nil {
			return nil, err
		}
		out.Items = append(out.Items, e.versionXML(t, v))
	}
	out.Items, out.Next, err = page(f, out.Items, 200)
	return out, err
}

// Template is what a launch template of AddTemplate says.
type Template struct {
	Image, Type, Subnet, Profile, UserData, Key string
	Groups                                      []string
	Tags                                        map[string]string
}

// AddTemplate adds a launch template with one version and returns its id.
func (e *Endpoint) AddTemplate(name string, data Template) (id string) {
	e.locked(func() {
		t := &template{ID: fmt.Sprintf("lt-%017x", e.next()), Name: name, Created: e.w.Now()}
		v := &templateVersion{template: t.ID, number: 1, created: e.w.Now()}
		v.order.machine = machine{Image: data.Image, Type: data.Type, Subnet: data.Subnet, Profile: data.Profile, UserData: data.UserData, Key: data.Key, Groups: data.Groups, Tags: data.Tags}
		t.Versions = []*templateVersion{v}
		e.cat.templates[t.ID] = t
		id = t.ID
	})
	return id
}
