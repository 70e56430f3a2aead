package plugins

import (
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/internal/pb"
)

// codePair is a row of codeTable.
type codePair struct {
	code core.Code
	grpc codes.Code
}

// codeTable translates between core's codes and gRPC's. Where one gRPC code
// stands for several of ours, the first row is what a status without detail means.
func codeTable() [17]codePair {
	return [...]codePair{
		{core.InvalidArgument, codes.InvalidArgument},
		{core.Unauthenticated, codes.Unauthenticated},
		{core.Forbidden, codes.PermissionDenied},
		{core.CallbackForbidden, codes.PermissionDenied},
		{core.NotFound, codes.NotFound},
		{core.NoSuchProcedure, codes.NotFound},
		{core.NoSuchBackend, codes.NotFound},
		{core.AlreadyExists, codes.AlreadyExists},
		{core.KeyReused, codes.FailedPrecondition},
		{core.TooMany, codes.ResourceExhausted},
		{core.TooLarge, codes.OutOfRange},
		{core.Unimplemented, codes.Unimplemented},
		{core.Unavailable, codes.Unavailable},
		{core.Timeout, codes.DeadlineExceeded},
		{core.Canceled, codes.Canceled},
		{core.Application, codes.Aborted},
		{core.CallbackFailed, codes.Unknown},
	}
}

// grpcCode is Internal for core.Internal and whatever the table lacks.
func grpcCode(c core.Code) codes.Code {
	for _, row := range codeTable() {
		if row.code == c {
			return row.grpc
		}
	}
	return codes.Internal
}

// coreCode is Internal for what says nothing that the asker could act on.
func coreCode(c codes.Code) core.Code {
	if c == codes.Unknown || c == codes.FailedPrecondition {
		return core.Internal
	}
	for _, row := range codeTable() {
		if row.grpc == c {
			return row.code
		}
	}
	return core.Internal
}

// errorToPB puts an error on the wire; nil stays nil.
func errorToPB(err error) *pb.Error {
	e := core.AsError(err)
	if e == nil {
		return nil
	}
	return &pb.Error{
		Code:            string(e.Code),
		Message:         text(e.Message),
		Uri:             text(e.URI),
		Args:            e.Args,
		Kwargs:          e.Kwargs,
		RetryAfterNanos: int64(e.RetryAfter),
	}
}

// errorFromPB takes an error off the wire; nil stays nil. A code that this version
// does not know becomes Internal.
func errorFromPB(e *pb.Error) error {
	if e == nil {
		return nil
	}
	code := core.Internal
	for _, row := range codeTable() {
		if string(row.code) == e.GetCode() {
			code = row.code
		}
	}
	return &core.Error{
		Code:       code,
		Message:    e.GetMessage(),
		URI:        e.GetUri(),
		Payload:    payload(e.GetArgs(), e.GetKwargs()),
		RetryAfter: time.Duration(e.GetRetryAfterNanos()),
	}
}

// errorSize is the size of an error that goes into a batch.
func errorSize(err error) int {
	e, ok := errors.AsType[*core.Error](err)
	if !ok {
		return 0
	}
	return len(e.Message) + len(e.URI) + e.Size()
}

// errorToStatus makes what a gRPC method returns; nil stays nil.
func errorToStatus(err error) error {
	e := core.AsError(err)
	if e == nil {
		return nil
	}
	st := status.New(grpcCode(e.Code), text(e.Error()))
	if detailed, err := st.WithDetails(errorToPB(e)); err == nil {
		st = detailed
	}
	return st.Err()
}

// errorFromStatus understands what a gRPC method returned; nil stays nil.
func errorFromStatus(err error) error {
	if err == nil {
		return nil
	}
	st, ok := status.FromError(err)
	if !ok {
		return core.AsError(err)
	}
	for _, detail := range st.Details() {
		if e, ok := detail.(*pb.Error); ok {
			return errorFromPB(e)
		}
	}
	return core.Errorf(coreCode(st.Code()), "%s", st.Message())
}
