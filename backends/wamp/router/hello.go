package router

import (
	"errors"
	"fmt"

	"github.com/gammazero/nexus/v3/wamp"
)

const (
	optRetain      = "retain"
	optGetRetained = "get_retained"

	featureRetention = "event_retention"

	maxLabel = 256 // bytes of an authid or agent
)

// client is what a HELLO told: the details nexus is to see, and what the router
// itself remembers.
type client struct {
	announced
	details wamp.Dict // roles and agent; the rest is not nexus' business
	authid  string
	methods []string
	extra   wamp.Dict // authextra

	identifiesPublisher bool // subscriber: publisher_identification
	takesTimeout        bool // callee: call_timeout
	// swallowsInterrupt says that the callee announced progressive results without
	// call_canceling. nexus is told otherwise, and INTERRUPT is kept from it.
	swallowsInterrupt bool
}

// sanitiseHello checks the details of a HELLO and builds those that nexus sees
// (WAMP specification, "Session Establishment"). Nothing the client wrote reaches
// nexus but roles with boolean features, and its agent.
func sanitiseHello(m *wamp.Hello) (client, error) {
	c := client{}
	roles, ok := m.Details["roles"].(wamp.Dict)
	if !ok || len(roles) == 0 {
		return c, errors.New("HELLO.Details.roles: want a dictionary of roles")
	}
	clean := wamp.Dict{}
	for _, role := range []string{wamp.RolePublisher, wamp.RoleSubscriber, wamp.RoleCaller, wamp.RoleCallee} {
		v, has := roles[role]
		if !has {
			continue
		}
		features, err := cleanFeatures(role, v)
		if err != nil {
			return c, err
		}
		switch role {
		case wamp.RoleSubscriber:
			c.identifiesPublisher = flag(features, wamp.FeaturePubIdent)
		case wamp.RoleCaller:
			c.progressiveInvocations = flag(features, wamp.FeatureProgCallInvocations)
		case wamp.RoleCallee:
			c.takesTimeout = flag(features, wamp.FeatureCallTimeout)
			if !flag(features, wamp.FeatureCallCanceling) {
				// "shall be considered as not supporting progressive call invocations"
				delete(features, wamp.FeatureProgCallInvocations)
				if flag(features, wamp.FeatureProgCallResults) {
					c.swallowsInterrupt = true
					features[wamp.FeatureCallCanceling] = true
				}
			}
			// With it, and forward_timeout on every registration, nexus leaves
			// timeouts to us: its own timers outlive realms.
			features[wamp.FeatureCallTimeout] = true
		}
		clean[role] = wamp.Dict{"features": features}
	}
	if len(clean) == 0 {
		return c, errors.New("HELLO.Details.roles: want at least one of publisher, subscriber, caller, callee")
	}
	c.details = wamp.Dict{"roles": clean}
	if agent, ok := m.Details["agent"].(string); ok {
		c.details["agent"] = agent[:min(len(agent), maxLabel)]
	}

	switch v := m.Details["authid"].(type) {
	case nil:
	case string:
		if len(v) > maxLabel {
			return c, fmt.Errorf("HELLO.Details.authid: want at most %d bytes", maxLabel)
		}
		c.authid = v
	default:
		return c, errors.New("HELLO.Details.authid: want a string")
	}
	switch v := m.Details["authmethods"].(type) {
	case nil:
	case wamp.List:
		for _, e := range v {
			name, ok := e.(string)
			if !ok {
				return c, errors.New("HELLO.Details.authmethods: want a list of strings")
			}
			c.methods = append(c.methods, name)
		}
	default:
		return c, errors.New("HELLO.Details.authmethods: want a list of strings")
	}
	switch v := m.Details["authextra"].(type) {
	case nil:
	case wamp.Dict:
		c.extra = v
	default:
		return c, errors.New("HELLO.Details.authextra: want a dictionary")
	}
	return c, nil
}

// knownFeature reports whether nexus looks at a client's feature. Payload passthru,
// which it cannot do safely, is none of them.
func knownFeature(name string) bool {
	switch name {
	case wamp.FeatureCallCanceling, wamp.FeatureCallTimeout, wamp.FeatureCallerIdent, wamp.FeaturePatternBasedReg,
		wamp.FeatureProgCallResults, wamp.FeatureProgCallInvocations, wamp.FeatureSharedReg,
		wamp.FeaturePatternSub, wamp.FeaturePubExclusion, wamp.FeaturePubIdent, wamp.FeatureSubBlackWhiteListing:
		return true
	}
	return false
}

// cleanFeatures returns the known features of a role that are true.
func cleanFeatures(role string, v any) (wamp.Dict, error) {
	clean := wamp.Dict{}
	if v == nil {
		return clean, nil
	}
	d, ok := v.(wamp.Dict)
	if !ok {
		return nil, fmt.Errorf("HELLO.Details.roles.%s: want a dictionary", role)
	}
	switch features := d["features"].(type) {
	case nil:
	case wamp.Dict:
		for name, on := range features {
			if on == true && knownFeature(name) {
				clean[name] = true
			}
		}
	default:
		return nil, fmt.Errorf("HELLO.Details.roles.%s.features: want a dictionary", role)
	}
	return clean, nil
}

// sanitiseWelcome replaces what nexus announces (dictionaries that all its sessions
// share) by what this router offers.
func sanitiseWelcome(m *wamp.Welcome) {
	roles, _ := m.Details["roles"].(wamp.Dict)
	clean := wamp.Dict{}
	for role, v := range roles {
		d, _ := v.(wamp.Dict)
		features, _ := d["features"].(wamp.Dict)
		own := wamp.Dict{}
		for name, on := range features {
			if name != wamp.FeaturePayloadPassthruMode && name != wamp.FeatureEventHistory {
				own[name] = on
			}
		}
		if role == wamp.RoleBroker {
			own[featureRetention] = true
		}
		clean[role] = wamp.Dict{"features": own}
	}
	m.Details["roles"] = clean
	m.Details["agent"] = "anybridge"
}
