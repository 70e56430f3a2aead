package router

import "github.com/gammazero/nexus/v3/wamp"

// decide says what becomes of a message of an open session: by itself, and by what
// the session may do. What goes on to nexus asks for the disclosure of its sender
// when the operator wants that always (Config.Disclose), and always for the bridge's
// own calls: a callee may know which app calls it.
func (s *session) decide(m wamp.Message) verdict {
	v := sanitise(m, s.client.announced)
	if v.action == forward {
		v = s.admit(v.message)
	}
	if v.action == forward {
		_, call := v.message.(*wamp.Call)
		if s.router.settings.Load().disclose || call && s.trusted() {
			disclose(v.message)
		}
	}
	return v
}

// disclose makes nexus tell the sender to callees and subscribers that announce
// caller_identification or publisher_identification.
func disclose(msg wamp.Message) {
	switch m := msg.(type) {
	case *wamp.Call:
		m.Options = wamp.SetOption(m.Options, wamp.OptDiscloseMe, true)
	case *wamp.Publish:
		m.Options = wamp.SetOption(m.Options, wamp.OptDiscloseMe, true)
	}
}
