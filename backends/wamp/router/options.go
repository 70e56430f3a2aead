package router

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/gammazero/nexus/v3/wamp"
)

// maxTimeout is the longest CALL timeout; longer ones are cut down to it.
const maxTimeout = 24 * time.Hour

// optionType is what the value of an option must be.
type optionType uint8

const (
	anything optionType = iota // an option nobody looks at
	boolean
	ids
	texts
	millis
	matchPolicy
	invokePolicy
	cancelMode
)

// publishOption tells the types of PUBLISH.Options.
func publishOption(name string) optionType {
	switch name {
	case wamp.OptAcknowledge, wamp.OptExcludeMe, wamp.OptDiscloseMe, optRetain:
		return boolean
	case wamp.BlacklistKey, wamp.WhitelistKey:
		return ids
	case "exclude_authid", "exclude_authrole", "eligible_authid", "eligible_authrole":
		return texts
	}
	return anything
}

// subscribeOption tells the types of SUBSCRIBE.Options.
func subscribeOption(name string) optionType {
	switch name {
	case wamp.OptMatch:
		return matchPolicy
	case optGetRetained:
		return boolean
	}
	return anything
}

// registerOption tells the types of REGISTER.Options.
func registerOption(name string) optionType {
	switch name {
	case wamp.OptMatch:
		return matchPolicy
	case wamp.OptInvoke:
		return invokePolicy
	case wamp.OptDiscloseCaller, wamp.OptForwardTimeout:
		return boolean
	}
	return anything
}

// callOption tells the types of CALL.Options.
func callOption(name string) optionType {
	switch name {
	case wamp.OptProgress, wamp.OptReceiveProgress, wamp.OptDiscloseMe:
		return boolean
	case wamp.OptTimeout:
		return millis
	}
	return anything
}

// cancelOption tells the types of CANCEL.Options.
func cancelOption(name string) optionType {
	if name == wamp.OptMode {
		return cancelMode
	}
	return anything
}

// yieldOption tells the types of YIELD.Options.
func yieldOption(name string) optionType {
	if name == wamp.OptProgress {
		return boolean
	}
	return anything
}

// noOption is for dictionaries of which only passthru options matter.
func noOption(string) optionType { return anything }

// checkOptions compares options with what typeOf says of them. bad describes the
// first wrong one by name, "" if all are well; passthru says that there are payload
// passthru options ("ppt_…"), which this router does not offer. An option that is
// null counts as absent and is deleted.
func checkOptions(options wamp.Dict, typeOf func(string) optionType) (bad string, passthru bool) {
	worst := ""
	for name, v := range options {
		if strings.HasPrefix(name, "ppt_") {
			return "", true
		}
		if v == nil {
			delete(options, name)
			continue
		}
		if why := checkOption(v, typeOf(name)); why != "" && (worst == "" || name < worst) {
			worst, bad = name, fmt.Sprintf("option %s: %s", name, why)
		}
	}
	return bad, false
}

func checkOption(v any, t optionType) string {
	switch t {
	case boolean:
		if _, ok := v.(bool); !ok {
			return "want a boolean"
		}
	case millis:
		if _, ok := wholeNumber(v); !ok {
			return "want a whole number of milliseconds, not negative"
		}
	case ids:
		list, ok := wamp.AsList(v)
		for _, e := range list {
			id, whole := wholeNumber(e)
			ok = ok && whole && id <= wamp.MaxID
		}
		if !ok {
			return "want a list of session ids"
		}
	case texts:
		list, ok := wamp.AsList(v)
		for _, e := range list {
			_, text := e.(string)
			ok = ok && text
		}
		if !ok {
			return "want a list of strings"
		}
	case matchPolicy:
		switch v {
		case wamp.MatchExact, wamp.MatchPrefix, wamp.MatchWildcard:
		default:
			return "want exact, prefix or wildcard"
		}
	case invokePolicy:
		switch v {
		case wamp.InvokeSingle, wamp.InvokeFirst, wamp.InvokeLast, wamp.InvokeRoundRobin, wamp.InvokeRandom:
		default:
			return "want single, first, last, roundrobin or random"
		}
	case cancelMode:
		switch v {
		case wamp.CancelModeSkip, wamp.CancelModeKill, wamp.CancelModeKillNoWait:
		default:
			return "want skip, kill or killnowait"
		}
	}
	return ""
}

// wholeNumber reads what any serialisation may have made of a number that is not
// negative.
func wholeNumber(v any) (uint64, bool) {
	switch n := v.(type) {
	case int64:
		return uint64(max(n, 0)), n >= 0
	case int:
		return uint64(max(n, 0)), n >= 0
	case uint64:
		return n, true
	case wamp.ID:
		return uint64(n), true
	case float64:
		return uint64(math.Abs(n)), n >= 0 && n == math.Trunc(n) && n <= wamp.MaxID
	}
	return 0, false
}

// timeoutOf is a checked CALL's timeout; 0 is none.
func timeoutOf(options wamp.Dict) time.Duration {
	ms, _ := wholeNumber(options[wamp.OptTimeout])
	if ms > uint64(maxTimeout/time.Millisecond) {
		return maxTimeout
	}
	return time.Duration(ms) * time.Millisecond
}

// flag reads a checked boolean option.
func flag(options wamp.Dict, name string) bool {
	b, _ := options[name].(bool)
	return b
}
