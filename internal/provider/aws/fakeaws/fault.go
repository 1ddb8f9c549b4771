package fakeaws

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"

	"relight/internal/world"
)

// Fault is an error as AWS words it.
type Fault struct {
	Code, Message string
	// Status is the HTTP status; 0 means 400.
	Status int
}

// Error implements error.
func (f *Fault) Error() string { return f.Code + ": " + f.Message }

// codeNoReply marks a reply that is lost on its way.
const codeNoReply = "(no reply)"

func refuse(code, format string, args ...any) *Fault {
	return &Fault{Code: code, Message: fmt.Sprintf(format, args...)}
}

// unauthorized words a refusal for want of rights as the service does. EC2 seals the
// details; sts opens them.
func (e *Endpoint) unauthorized(req request) error {
	action := req.right()
	if req.service == "ec2" || req.http == nil { // EC2 asks for iam:PassRole itself
		return &Fault{Code: "UnauthorizedOperation", Message: "You are not authorized to perform this operation. User: " + e.caller() + " is not authorized to perform: " + action + ". " + e.sealed(action), Status: http.StatusForbidden}
	}
	code := "AccessDenied"
	if req.service == "outposts" {
		code = "AccessDeniedException"
	}
	return &Fault{Code: code, Message: "User: " + e.caller() + " is not authorized to perform: " + action, Status: http.StatusForbidden}
}

// asFault names what the world answered as EC2 does. Codes and statuses are those of
// docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html.
func asFault(err error) *Fault {
	var f *Fault
	if errors.As(err, &f) {
		return f
	}
	for _, row := range []struct {
		err    error
		code   string
		status int
	}{
		{world.ErrReplyLost, codeNoReply, 0},
		{world.ErrThrottled, "RequestLimitExceeded", http.StatusServiceUnavailable},
		{world.ErrUnavailable, "Unavailable", http.StatusServiceUnavailable},
		{world.ErrVolumeInUse, "VolumeInUse", 0},
		{world.ErrVolumeState, "IncorrectState", 0},
		{world.ErrInstanceState, "IncorrectInstanceState", 0},
		{world.ErrInterfaceInUse, "InvalidNetworkInterface.InUse", 0},
		{world.ErrAssociated, "Resource.AlreadyAssociated", 0},
		{world.ErrTokenMismatch, "IdempotentParameterMismatch", 0},
		{world.ErrTokenEnded, "IdempotentInstanceTerminated", 0},
		{world.ErrZoneMismatch, "InvalidVolume.ZoneMismatch", 0},
		{world.ErrNotAttached, "InvalidAttachment.NotFound", 0},
		{world.ErrInsufficient, "InsufficientInstanceCapacity", http.StatusInternalServerError},
		{world.ErrCapacity, "InsufficientInstanceCapacity", http.StatusInternalServerError},
		{world.ErrUnsupported, "UnsupportedOperation", 0},
		{world.ErrUnreachable, "Unavailable", http.StatusServiceUnavailable},
		{world.ErrConflict, "IncorrectState", 0},
		{world.ErrNotFound, "InvalidParameterValue", 0},
	} {
		if errors.Is(err, row.err) {
			return &Fault{Code: row.code, Message: err.Error(), Status: row.status}
		}
	}
	return &Fault{Code: "InternalError", Message: err.Error(), Status: http.StatusInternalServerError}
}

func statusOf(err error) int {
	if s := asFault(err).Status; s != 0 {
		return s
	}
	return http.StatusBadRequest
}

// worded gives what every service may answer the words of this one: those of the world are
// EC2's.
func worded(req request, f *Fault) *Fault {
	switch {
	case req.service == "ec2":
		return f
	case f.Code == "Unavailable":
		return &Fault{Code: "ServiceUnavailable", Message: f.Message, Status: f.Status}
	case f.Code == "RequestLimitExceeded" && req.service == "elasticloadbalancing":
		return &Fault{Code: "ThrottlingException", Message: "Rate exceeded"}
	case f.Code == "RequestLimitExceeded" && req.service == "route53":
		return &Fault{Code: "Throttling", Message: "Rate exceeded"}
	}
	return f
}

// fault words an error in the service's protocol.
func fault(req request, err error) answer {
	f := asFault(err)
	switch {
	case req.service == "ec2":
		return answer{contentType: "text/xml;charset=UTF-8", body: []byte(xml.Header + "<Response><Errors><Error><Code>" + f.Code + "</Code><Message>" + escape(f.Message) + "</Message></Error></Errors><RequestID>req</RequestID></Response>")}
	case req.service == "outposts": // REST tells the code in a header
		body, _ := json.Marshal(map[string]string{"Message": f.Message}) // strings always marshal
		return answer{contentType: "application/json", body: body, header: http.Header{"X-Amzn-Errortype": {f.Code}}}
	case isJSON(req):
		body, _ := json.Marshal(map[string]string{"__type": f.Code, "message": f.Message}) // strings always marshal
		return answer{contentType: "application/x-amz-json-1.0", body: body}
	default:
		return answer{contentType: "text/xml", body: []byte(xml.Header + "<ErrorResponse><Error><Type>Sender</Type><Code>" + f.Code + "</Code><Message>" + escape(f.Message) + "</Message></Error><RequestId>req</RequestId></ErrorResponse>")}
	}
}

func isJSON(req request) bool {
	return req.http != nil && req.http.Header.Get("X-Amz-Target") != ""
}

func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a buffer takes everything
	return b.String()
}

// ec2Reply wraps a result as EC2 does: its fields beside the request's number.
func ec2Reply(action string, result any) (answer, error) {
	inner, err := fields(result)
	if err != nil {
		return answer{}, err
	}
	body := fmt.Sprintf(`%s<%sResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>req</requestId>%s</%sResponse>`, xml.Header, action, inner, action)
	return answer{contentType: "text/xml;charset=UTF-8", body: []byte(body)}, nil
}

// queryReply wraps a result as the other query services do.
func queryReply(namespace, action string, result any) (answer, error) {
	inner, err := fields(result)
	if err != nil {
		return answer{}, err
	}
	body := fmt.Sprintf(`%s<%sResponse xmlns="%s"><%sResult>%s</%sResult><ResponseMetadata><RequestId>req</RequestId></ResponseMetadata></%sResponse>`,
		xml.Header, action, namespace, action, inner, action, action)
	return answer{contentType: "text/xml", body: []byte(body)}, nil
}

// fields is a structure's XML without its own element.
func fields(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := xml.NewEncoder(&b)
	if err := enc.EncodeElement(v, xml.StartElement{Name: xml.Name{Local: "x"}}); err != nil {
		return nil, fmt.Errorf("encode reply: %w", err)
	}
	out := bytes.TrimPrefix(b.Bytes(), []byte("<x>"))
	return bytes.TrimSuffix(out, []byte("</x>")), nil
}

func jsonReply(v any) (answer, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return answer{}, fmt.Errorf("encode reply: %w", err)
	}
	return answer{contentType: "application/x-amz-json-1.0", body: body}, nil
}
