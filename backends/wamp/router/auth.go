package router

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/gammazero/nexus/v3/router/auth"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/gammazero/nexus/v3/wamp/crsign"
)

// trustedName and trustedRole are the authid and authrole of Local sessions, tokenRole
// is the authrole of tokens. Principals cannot have them.
const (
	trustedName = "anybridge"
	trustedRole = "trusted"
	tokenRole   = "token"
)

// errAuthentication is all that a client learns, whatever was wrong.
var errAuthentication = errors.New("authentication failed")

// offer is how one session is to authenticate. principal is nil for anonymous and
// local sessions, and for one that nobody is allowed: that has to answer a challenge
// like any other, and fails whatever it answers.
type offer struct {
	method    string
	authid    string
	principal *principal
	salt      wamp.Dict
}

// offer chooses the first method of the client's that works for it. If none does it
// invents one among those offered, always the same for one authid, so that an
// unknown authid looks like any other. It returns false if there is nothing to
// choose from.
func (st *settings) offer(c *client, local bool, secret []byte) (offer, bool) {
	methods := c.methods
	if len(methods) == 0 {
		methods = []string{methodAnonymous}
	}
	o := offer{authid: c.authid}
	pub, _ := c.extra["pubkey"].(string)
	known := st.principals[o.authid]
	if o.authid == "" && pub != "" && slices.Contains(methods, methodCryptosign) {
		if known = st.principals.byKey(pub); known != nil {
			o.authid = known.authid
		}
	}
	var challenges []string
	for _, m := range methods {
		switch m {
		case methodAnonymous:
			if st.anonymousAllowed(local) {
				return offer{method: methodAnonymous}, true
			}
		case methodTicket, methodCRA, methodCryptosign:
			challenges = append(challenges, m)
			if known != nil && known.can(m) {
				o.method, o.principal, o.salt = m, known, known.salt
				return o, true
			}
		}
	}
	if len(challenges) == 0 {
		return offer{}, false
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(o.authid))
	random := mac.Sum(nil)
	o.method = challenges[int(random[0])%len(challenges)]
	if like := st.principals.salted(); like != nil {
		o.salt = wamp.Dict{"salt": hex.EncodeToString(random[1:9]), "iterations": like["iterations"], "keylen": like["keylen"]}
	}
	return o, true
}

func (st *settings) anonymousAllowed(local bool) bool {
	return st.anonymous != nil && (local || !st.onlyLocal)
}

// authenticator is nexus' interface to session.authenticate. There is one for each
// method, since nexus looks them up by name; the session knows which it is.
type authenticator struct{ method string }

var _ auth.Authenticator = authenticator{}

func authenticators() (out []auth.Authenticator) {
	for _, m := range []string{methodAnonymous, methodTicket, methodCRA, methodCryptosign, methodLocal} {
		out = append(out, authenticator{m})
	}
	return out
}

func (a authenticator) AuthMethod() string { return a.method }

func (a authenticator) Authenticate(sid wamp.ID, _ wamp.Dict, peer wamp.Peer) (*wamp.Welcome, error) {
	s, ok := peer.(*session)
	if !ok || s.offer.method != a.method {
		return nil, errAuthentication
	}
	return s.authenticate(sid)
}

// authenticate runs the method that was chosen (WAMP specification, "Authentication
// Methods").
func (s *session) authenticate(sid wamp.ID) (*wamp.Welcome, error) {
	var who *identity
	switch s.offer.method {
	case methodLocal:
		who = &identity{kind: kindTrusted, authid: trustedName, role: trustedRole}
		s.who.Store(who)
	case methodAnonymous:
		s.anonymousID = strconv.FormatUint(uint64(wamp.GlobalID()), 16)
		who = s.router.assume(s)
	default:
		if s.challenge(sid) {
			who = s.router.assume(s)
		}
	}
	if who == nil {
		s.router.counters.authFailures.Add(1)
		s.router.log.Info("authentication failed", s.attrs(slog.String("method", s.offer.method))...)
		s.router.gate.failed(s.host(), s.done)
		return nil, errAuthentication
	}
	return &wamp.Welcome{Details: wamp.Dict{
		"authid": s.authid(), "authrole": who.role, "authprovider": who.provider(),
	}}, nil
}

// authid is the session's authid, once it is authenticated.
func (s *session) authid() string {
	if who := s.who.Load(); who != nil && who.kind != kindAnonymous {
		return who.authid
	}
	return s.anonymousID
}

// challenge sends CHALLENGE and judges the AUTHENTICATE that answers it. What it
// does for somebody unknown takes as long as for anybody.
func (s *session) challenge(sid wamp.ID) bool {
	p := s.offer.principal
	known := p != nil && p.mayJoin(s.realm.name)
	extra := wamp.Dict{}
	var nonce [32]byte
	_, _ = rand.Read(nonce[:]) // never fails
	var text string
	switch s.offer.method {
	case methodCRA:
		var err error
		if text, err = s.craChallenge(sid, nonce[:16]); err != nil {
			return false
		}
		extra["challenge"] = text
		for k, v := range s.offer.salt {
			extra[k] = v
		}
	case methodCryptosign:
		extra["challenge"] = hex.EncodeToString(nonce[:])
	}
	s.Send() <- &wamp.Challenge{AuthMethod: s.offer.method, Extra: extra}
	msg, err := wamp.RecvTimeout(s, time.Duration(s.limits.HandshakeTimeout))
	if err != nil {
		return false
	}
	answer, ok := msg.(*wamp.Authenticate)
	if !ok {
		return false
	}
	if !known {
		p = &principal{ticket: &nonce, key: nonce[:], keys: []ed25519.PublicKey{s.router.nobody}}
	}
	switch s.offer.method {
	case methodTicket:
		s.ticket = sha256.Sum256([]byte(answer.Signature))
		ok = p.opens(s.ticket)
	case methodCRA:
		ok = crsign.VerifySignature(answer.Signature, text, p.key)
	case methodCryptosign:
		ok = verifyCryptosign(answer.Signature, nonce[:], p.keys)
	}
	return ok && known
}

// craChallenge is the string that a WAMP-CRA client signs.
func (s *session) craChallenge(sid wamp.ID, nonce []byte) (string, error) {
	role := "user"
	provider := "static"
	if p := s.offer.principal; p != nil {
		role, provider = p.role, p.provider()
	}
	b, err := json.Marshal(map[string]any{
		"authid": s.offer.authid, "authrole": role, "authmethod": methodCRA, "authprovider": provider,
		"nonce": base64.StdEncoding.EncodeToString(nonce), "timestamp": wamp.NowISO8601(), "session": sid,
	})
	return string(b), err
}

// verifyCryptosign checks a signature as WAMP-Cryptosign sends it: 64 bytes of
// Ed25519 signature followed by the challenge that was signed, in hex.
func verifyCryptosign(signature string, challenge []byte, keys []ed25519.PublicKey) bool {
	b, err := hex.DecodeString(signature)
	if err != nil || len(b) < ed25519.SignatureSize {
		return false
	}
	if signed := b[ed25519.SignatureSize:]; len(signed) > 0 && !hmac.Equal(signed, challenge) {
		return false
	}
	for _, k := range keys {
		if ed25519.Verify(k, challenge, b[:ed25519.SignatureSize]) {
			return true
		}
	}
	return false
}

// assume gives an authenticated session its identity, as it is in the settings of
// this moment; nil if it is not there any more.
func (r *Router) assume(s *session) *identity {
	r.mu.Lock()
	defer r.mu.Unlock()
	who := r.settings.Load().current(s)
	if who != nil {
		s.who.Store(who)
	}
	return who
}

// current is the identity that the settings have for an authenticated session; nil
// if the session is not welcome any more.
func (st *settings) current(s *session) *identity {
	if s.offer.method == methodAnonymous {
		if !st.anonymousAllowed(s.local) {
			return nil
		}
		return st.anonymous
	}
	p := st.principals[s.offer.authid]
	if p == nil || !p.knows(s) || !p.mayJoin(s.realm.name) {
		return nil
	}
	return &p.identity
}
