package plugins

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/anybridge/anybridge/core"
)

func TestEveryCodeCrosses(t *testing.T) {
	for _, code := range []core.Code{
		core.InvalidArgument, core.Unauthenticated, core.Forbidden, core.NoSuchProcedure, core.NoSuchBackend, core.NotFound,
		core.AlreadyExists, core.CallbackForbidden, core.KeyReused, core.TooLarge, core.TooMany, core.Application, core.Internal,
		core.Unimplemented, core.CallbackFailed, core.Unavailable, core.Timeout, core.Canceled,
	} {
		want := &core.Error{Code: code, Message: "m", URI: "u", RetryAfter: time.Second, Payload: core.Payload{Args: []byte(`[1]`), Kwargs: []byte(`{}`)}}
		if got := errorFromPB(errorToPB(want)); fields(got) != fields(want) {
			t.Errorf("in a batch: got %#v, want %#v", got, want)
		}
		st := errorToStatus(want)
		if status.Code(st) == codes.OK {
			t.Errorf("%s has no gRPC code", code)
		}
		if got := errorFromStatus(st); fields(got) != fields(want) {
			t.Errorf("as a status: got %#v, want %#v", got, want)
		}
	}
	if errorFromPB(errorToPB(nil)) != nil || errorFromStatus(errorToStatus(nil)) != nil {
		t.Error("nil does not stay nil")
	}
}

func TestStatusWithoutDetail(t *testing.T) {
	for code, want := range map[codes.Code]core.Code{
		codes.InvalidArgument: core.InvalidArgument, codes.PermissionDenied: core.Forbidden, codes.NotFound: core.NotFound,
		codes.ResourceExhausted: core.TooMany, codes.DeadlineExceeded: core.Timeout, codes.Unknown: core.Internal, codes.DataLoss: core.Internal,
		codes.Unimplemented: core.Unimplemented, codes.Unavailable: core.Unavailable, codes.FailedPrecondition: core.Internal,
	} {
		if err := errorFromStatus(status.Error(code, "m")); core.CodeOf(err) != want || err.Error() != "m" {
			t.Errorf("%s: got %v (%s)", code, err, core.CodeOf(err))
		}
	}
	if core.CodeOf(errorFromStatus(context.DeadlineExceeded)) != core.Timeout {
		t.Error("a context's error lost its meaning")
	}
	m := errorToPB(errors.New("x"))
	m.Code = "from the future"
	if core.CodeOf(errorFromPB(m)) != core.Internal {
		t.Error("an unknown code is not internal")
	}
}
