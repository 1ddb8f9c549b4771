package ontap

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Codes of ONTAP's errors that mean something here.
const (
	codeMapped       = "1254213" // the initiator group is mapped
	codeNotMember    = "5374034" // the initiator is not in the group
	codeNoGroup      = "5374852"
	codeNoCredential = "5374895"
	codeNoMap        = "5374922"
	codeNotFound     = "4" // entry doesn't exist
)

// apiError is an error that the array gave.
type apiError struct {
	status  int
	code    string
	message string
}

// Error implements error.
func (e *apiError) Error() string {
	return fmt.Sprintf("HTTP %d: %s (code %s)", e.status, e.message, e.code)
}

// most is the longest answer that is read, in bytes.
const most = 16 << 20

// call does one request. in and out may be nil.
func (a *Array) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	u := a.cfg.URL + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, body)
	if err != nil {
		return err
	}
	req.SetBasicAuth(a.cfg.User, a.cfg.Password)
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, most))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if res.StatusCode/100 != 2 {
		failed := struct {
			Error struct{ Code, Message string }
		}{}
		_ = json.Unmarshal(text, &failed) // a proxy's page has neither
		return &apiError{res.StatusCode, failed.Error.Code, failed.Error.Message}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}

// page is one page of a list.
type page[T any] struct {
	Records []T `json:"records"`
	Links   struct {
		Next struct {
			Href string `json:"href"`
		} `json:"next"`
	} `json:"_links"`
}

// all reads a list to its end: a session on the second page writes as well.
func all[T any](ctx context.Context, a *Array, path string, query url.Values) ([]T, error) {
	var out []T
	for {
		var p page[T]
		if err := a.call(ctx, http.MethodGet, path, query, nil, &p); err != nil {
			return nil, err
		}
		out = append(out, p.Records...)
		if p.Links.Next.Href == "" {
			return out, nil
		}
		next, err := url.Parse(p.Links.Next.Href)
		if err != nil {
			return nil, fmt.Errorf("next page of %s: %w", path, err)
		}
		path, query = next.Path, next.Query()
	}
}

// named is how ONTAP refers to things.
type named struct {
	UUID string `json:"uuid,omitempty"`
	Name string `json:"name,omitempty"`
}

type lun struct {
	named
	SVM    *named `json:"svm,omitempty"`
	OSType string `json:"os_type,omitempty"`
	Space  space  `json:"space"`
	// Enabled and Comment are read here and changed by a change.
	Enabled bool   `json:"enabled,omitempty"`
	Comment string `json:"comment,omitempty"`
	Status  status `json:"status,omitzero"`
	// Created is read only.
	Created time.Time `json:"create_time,omitzero"`
}

// status is read only.
type status struct {
	State string `json:"state,omitempty"`
}

// cloned is a LUN as a clone of another one: size and type are the source's.
type cloned struct {
	named
	SVM   *named `json:"svm,omitempty"`
	Clone clone  `json:"clone"`
}

type clone struct {
	Source named `json:"source"`
}

type space struct {
	Size      int64      `json:"size"`
	Guarantee *guarantee `json:"guarantee,omitempty"`
}

type guarantee struct {
	Requested bool `json:"requested"`
}

type volume struct {
	named
	Space struct {
		Available int64 `json:"available"`
	} `json:"space"`
}

type igroup struct {
	named
	SVM        *named  `json:"svm,omitempty"`
	OSType     string  `json:"os_type,omitempty"`
	Protocol   string  `json:"protocol,omitempty"`
	Initiators []named `json:"initiators,omitempty"`
	Comment    string  `json:"comment,omitempty"`
}

type lunMap struct {
	SVM    *named `json:"svm,omitempty"`
	LUN    named  `json:"lun"`
	Igroup named  `json:"igroup"`
	Number int    `json:"logical_unit_number"`
}

type credential struct {
	SVM       *named `json:"svm,omitempty"`
	Initiator string `json:"initiator"`
	Type      string `json:"authentication_type"`
	CHAP      *chap  `json:"chap,omitempty"`
}

type chap struct {
	Inbound login `json:"inbound"`
}

type login struct {
	User     string `json:"user"`
	Password string `json:"password,omitempty"`
}

type session struct {
	SVM       named  `json:"svm"`
	Group     string `json:"target_portal_group"`
	TSIH      int    `json:"tsih"`
	ISID      string `json:"isid"`
	Initiator named  `json:"initiator"`
}

// shutdown is the private CLI's command "vserver iscsi session shutdown".
type shutdown struct {
	Vserver string `json:"vserver"`
	Group   string `json:"tpgroup"`
	TSIH    int    `json:"tsih"`
}

type service struct {
	SVM    named `json:"svm"`
	Target named `json:"target"`
}
