package rest

import (
	"net/http"

	"github.com/anybridge/anybridge/core"
)

// Codes of what only HTTP knows, and of limits that only this frontend has.
const (
	methodNotAllowed core.Code = "method_not_allowed"
	uriTooLong       core.Code = "uri_too_long"
	endpointLimit    core.Code = "too_many_endpoints" // waiting does not help
)

// statusOf is the one table that turns codes into HTTP statuses and titles.
func statusOf(code core.Code) (status int, title string) {
	switch code {
	case core.InvalidArgument:
		return http.StatusBadRequest, "The request is not right"
	case core.Unauthenticated:
		return http.StatusUnauthorized, "No valid token"
	case core.Forbidden:
		return http.StatusForbidden, "The token may not do this"
	case core.NoSuchProcedure:
		return http.StatusNotFound, "No such procedure"
	case core.NoSuchBackend:
		return http.StatusNotFound, "No such backend"
	case core.NotFound:
		return http.StatusNotFound, "Not found"
	case methodNotAllowed:
		return http.StatusMethodNotAllowed, "Method not allowed"
	case core.AlreadyExists:
		return http.StatusConflict, "Taken by someone else"
	case core.TooLarge:
		return http.StatusRequestEntityTooLarge, "Too large"
	case uriTooLong:
		return http.StatusRequestURITooLong, "The URL is too long"
	case core.CallbackForbidden:
		return http.StatusUnprocessableEntity, "Callback URL not allowed"
	case core.KeyReused:
		return http.StatusUnprocessableEntity, "Idempotency key reused"
	case core.TooMany:
		return http.StatusTooManyRequests, "Too many requests"
	case endpointLimit:
		return http.StatusTooManyRequests, "Too many endpoints"
	case core.Application:
		return http.StatusInternalServerError, "The procedure raised an error"
	case core.Unimplemented:
		return http.StatusNotImplemented, "The backend cannot do this"
	case core.CallbackFailed:
		return http.StatusBadGateway, "The callback failed"
	case core.Unavailable:
		return http.StatusServiceUnavailable, "Unavailable"
	case core.Canceled:
		return http.StatusServiceUnavailable, "Canceled"
	case core.Timeout:
		return http.StatusGatewayTimeout, "The deadline passed"
	default:
		return http.StatusInternalServerError, "Internal error"
	}
}
