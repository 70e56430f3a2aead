package session_test

import (
	"context"
	"encoding/json"
	"io"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/backends/wamp/session"
	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/anybridge/anybridge/core"
)

// fake is a router that says what the test wants, when it wants it.
type fake struct {
	mu   sync.Mutex
	link *fakeLink
	in   chan wamp.Message // from the session
	ids  []wamp.ID         // of its requests
}

type fakeLink struct {
	f    *fake
	out  chan wamp.Message
	once sync.Once
	done chan struct{}
}

func newFake() *fake { return &fake{in: make(chan wamp.Message, 100)} }

// connect welcomes the session.
func (f *fake) connect(context.Context, *wamp.Hello) (session.Link, error) {
	l := &fakeLink{f: f, out: make(chan wamp.Message, 100), done: make(chan struct{})}
	l.out <- &wamp.Welcome{ID: 7, Details: wamp.Dict{}}
	f.mu.Lock()
	f.link = l
	f.mu.Unlock()
	return l, nil
}

func (f *fake) say(msgs ...wamp.Message) {
	f.mu.Lock()
	l := f.link
	f.mu.Unlock()
	for _, m := range msgs {
		l.out <- m
	}
}

// hear returns the next message of the session, which must be of type T.
func hear[T wamp.Message](t *testing.T, f *fake) T {
	t.Helper()
	select {
	case m := <-f.in:
		got, ok := m.(T)
		if !ok {
			t.Fatalf("the session sent %s", m.MessageType())
		}
		return got
	case <-time.After(patience):
		t.Fatal("the session sent nothing")
	}
	panic("unreachable")
}

func (l *fakeLink) Send(_ context.Context, m wamp.Message) error {
	switch m := m.(type) {
	case *wamp.Call:
		l.f.ids = append(l.f.ids, m.Request)
	case *wamp.Publish:
		l.f.ids = append(l.f.ids, m.Request)
	case *wamp.Goodbye:
		l.out <- &wamp.Goodbye{Reason: wamp.CloseGoodbyeAndOut}
		return nil
	}
	l.f.in <- m
	return nil
}

func (l *fakeLink) Receive(ctx context.Context) ([]wamp.Message, error) {
	select {
	case m := <-l.out:
		return []wamp.Message{m}, nil
	case <-l.done:
		return nil, io.EOF
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *fakeLink) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// withFake runs a test with a session on a fake router and a clock that runs only
// when everybody waits.
func withFake(t *testing.T, test func(t *testing.T, f *fake, s *session.Session)) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		s := session.New(session.Options{Target: session.Target{Connect: f.connect, Realm: "realm1"}, Log: quiet()})
		defer func() {
			if err := s.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}()
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		test(t, f, s)
	})
}

// TestPublishOptions compares what is sent, and what is withheld from the session
// itself by its id, or by a whitelist of nobody.
func TestPublishOptions(t *testing.T) {
	withFake(t, func(t *testing.T, f *fake, s *session.Session) {
		for _, c := range []struct {
			options  core.PublishOptions
			sent     wamp.Dict
			withheld bool
		}{
			{core.PublishOptions{}, wamp.Dict{}, false},
			{core.PublishOptions{Retain: true}, wamp.Dict{"retain": true}, false},
			{core.PublishOptions{Exclude: []uint64{1, 7}}, wamp.Dict{"exclude": wamp.List{wamp.ID(1), wamp.ID(7)}}, true},
			{core.PublishOptions{Exclude: []uint64{1}}, wamp.Dict{"exclude": wamp.List{wamp.ID(1)}}, false},
			{core.PublishOptions{Eligible: []uint64{7}}, wamp.Dict{"eligible": wamp.List{wamp.ID(7)}}, false},
			{core.PublishOptions{Eligible: []uint64{1}}, wamp.Dict{"eligible": wamp.List{wamp.ID(1)}}, true},
			{core.PublishOptions{Eligible: []uint64{}}, wamp.Dict{"eligible": wamp.List{}}, true},
			{core.PublishOptions{EligibleAuthID: []string{}}, wamp.Dict{"eligible_authid": wamp.List{}}, true},
			{core.PublishOptions{EligibleAuthID: []string{"bridge"}}, wamp.Dict{"eligible_authid": wamp.List{"bridge"}}, true}, // nobody said who we are
		} {
			e := &core.Event{Topic: address("com.topic"), Options: c.options}
			publishing := make(chan error, 1)
			go func() { publishing <- s.Publish(context.Background(), e) }()
			m := hear[*wamp.Publish](t, f)
			c.sent["acknowledge"], c.sent["exclude_me"] = true, true
			if !reflect.DeepEqual(m.Options, c.sent) {
				t.Errorf("%+v: sent %v", c.options, m.Options)
			}
			f.say(&wamp.Published{Request: m.Request, Publication: 9007199254740991})
			if err := <-publishing; err != nil {
				t.Fatal(err)
			}
			if e.ID != "9007199254740991" || e.Withheld != c.withheld {
				t.Errorf("%+v: published as %s, withheld %v", c.options, e.ID, e.Withheld)
			}
		}
	})
}

// TestLateSubscribed undoes a subscription that nobody waits for any more.
func TestLateSubscribed(t *testing.T) {
	withFake(t, func(t *testing.T, f *fake, s *session.Session) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := s.Subscribe(ctx, exact("com.topic"))
		wantCode(t, err, core.Timeout)
		_, err = s.Register(ctx, exact("com.procedure"), core.RegisterOptions{}) // nothing is sent
		wantCode(t, err, core.Timeout)
		f.say(&wamp.Subscribed{Request: hear[*wamp.Subscribe](t, f).Request, Subscription: 5})
		u := hear[*wamp.Unsubscribe](t, f)
		if u.Subscription != 5 {
			t.Fatalf("%+v", u)
		}
		f.say(&wamp.Unsubscribed{Request: u.Request})
	})
}

func TestRequestIDs(t *testing.T) {
	withFake(t, func(t *testing.T, f *fake, s *session.Session) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				if i%2 == 0 { // takes no id
					_, err := s.Call(ctx, &core.Call{Procedure: address("com.x")})
					wantCode(t, err, core.Canceled)
				}
				_, err := s.Call(context.Background(), &core.Call{Procedure: address("com.x")})
				if err != nil {
					t.Error(err)
				}
			})
		}
		for i := range 50 {
			id := hear[*wamp.Call](t, f).Request
			if id != wamp.ID(i+1) {
				t.Errorf("request %d has id %d", i+1, id)
			}
			f.say(&wamp.Result{Request: id, Details: wamp.Dict{"progress": true}}, &wamp.Result{Request: id})
		}
		wg.Wait()
	})
}

// TestConnectionLost fails everything that waits, at once.
func TestConnectionLost(t *testing.T) {
	for name, end := range map[string]func(*fake){
		"closed":  func(f *fake) { _ = f.link.Close() },
		"goodbye": func(f *fake) { f.say(&wamp.Goodbye{Reason: wamp.CloseSystemShutdown}) },
		"abort": func(f *fake) {
			f.say(&wamp.Abort{Reason: wamp.ErrProtocolViolation, Details: wamp.Dict{"message": "why"}})
		},
		"garbage": func(f *fake) { f.say(&wamp.Hello{}) },
	} {
		t.Run(name, func(t *testing.T) {
			withFake(t, func(t *testing.T, f *fake, s *session.Session) {
				calling := make(chan error, 1)
				go func() {
					_, err := s.Call(context.Background(), &core.Call{Procedure: address("com.x")})
					calling <- err
				}()
				hear[*wamp.Call](t, f)
				end(f)
				if e := wantCode(t, <-calling, core.Unavailable); e.RetryAfter <= 0 {
					t.Fatalf("error %#v", e)
				}
				if name == "goodbye" {
					_ = s.Status()
				}
				time.Sleep(time.Second) // it joins again
				if st := s.Status(); st.State != core.Up || st.Counters["joins"] != 2 {
					t.Fatalf("status %+v", st)
				}
			})
		})
	}
}

// TestInvocations answers what the consumer does not.
func TestInvocations(t *testing.T) {
	withFake(t, func(t *testing.T, f *fake, s *session.Session) {
		result := make(chan core.Stream[*core.Invocation], 1)
		go func() {
			stream, err := s.Register(context.Background(), exact("com.p"), core.RegisterOptions{Invoke: "roundrobin"})
			if err != nil {
				t.Error(err)
			}
			result <- stream
		}()
		register := hear[*wamp.Register](t, f)
		if register.Options["disclose_caller"] != true || register.Options["invoke"] != "roundrobin" {
			t.Errorf("options %v", register.Options)
		}
		f.say(&wamp.Error{Type: wamp.REGISTER, Request: register.Request, Error: wamp.ErrOptionDisallowedDiscloseMe})
		register = hear[*wamp.Register](t, f)
		if _, ok := register.Options["disclose_caller"]; ok || register.Options["invoke"] != "roundrobin" {
			t.Errorf("options %v", register.Options)
		}
		f.say(&wamp.Registered{Request: register.Request, Registration: 3})
		stream := <-result

		next := func() *core.Invocation {
			batch, err := stream.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return batch[0]
		}
		f.say(&wamp.Invocation{Request: 1, Registration: 3})
		inv := next()
		f.say(&wamp.Interrupt{Request: 1, Options: wamp.Dict{"mode": "kill"}})
		<-inv.Canceled
		if e := hear[*wamp.Error](t, f); e.Request != 1 || e.Error != wamp.ErrCanceled {
			t.Fatalf("answer %+v", e)
		}
		inv.Reply(&core.Result{}, nil) // too late: nothing is sent

		f.say(&wamp.Invocation{Request: 2, Registration: 3, Details: wamp.Dict{"timeout": int64(1500)}})
		if inv = next(); inv.Timeout != 1500*time.Millisecond || inv.ID != "7-2" {
			t.Fatalf("invocation %+v", inv)
		}
		<-inv.Canceled
		if e := hear[*wamp.Error](t, f); e.Request != 2 || e.Error != wamp.ErrTimeout {
			t.Fatalf("answer %+v", e)
		}

		f.say(&wamp.Invocation{Request: 3, Registration: 99})
		if e := hear[*wamp.Error](t, f); e.Request != 3 || e.Error != "wamp.error.unavailable" {
			t.Fatalf("answer %+v", e)
		}

		// What a router far away says of tokens is not believed.
		forged := wamp.Dict{"caller_authid": "joe", "caller_token": "shop", "caller_user": "alice"}
		f.say(&wamp.Invocation{Request: 4, Registration: 3, Details: forged, Arguments: wire.Opaque(wire.NewPayload(wire.JSON, []byte(`[1]`), nil))})
		if inv = next(); string(inv.Details) != `{"caller_authid":"joe"}` {
			t.Errorf("details %s", inv.Details)
		}
		inv.Reply(&core.Result{Payload: core.Payload{Kwargs: json.RawMessage(`{"a":1}`)}}, nil)
		inv.Reply(nil, core.Errorf(core.Internal, "ignored"))
		y := hear[*wamp.Yield](t, f)
		if kwargs, _ := wire.PayloadOf(y).Kwargs(wire.JSON); y.Request != 4 || string(kwargs) != `{"a":1}` {
			t.Fatalf("answer %+v", y)
		}

		// What is not taken is answered when the stream is closed.
		f.say(&wamp.Invocation{Request: 5, Registration: 3})
		synctest.Wait()
		closing := make(chan error, 1)
		go func() { closing <- stream.Close() }()
		f.say(&wamp.Unregistered{Request: hear[*wamp.Unregister](t, f).Request})
		if err := <-closing; err != nil {
			t.Fatal(err)
		}
		if e := hear[*wamp.Error](t, f); e.Request != 5 || e.Error != "wamp.error.unavailable" {
			t.Fatalf("answer %+v", e)
		}
	})
}

// TestBackoff doubles the pauses up to the last one.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var tries []time.Time
		s := session.New(session.Options{Log: quiet(), Target: session.Target{Realm: "realm1", Connect: func(context.Context, *wamp.Hello) (session.Link, error) {
			mu.Lock()
			defer mu.Unlock()
			tries = append(tries, time.Now())
			return nil, io.ErrUnexpectedEOF
		}}})
		wantCode(t, s.Ready(t.Context()), core.Unavailable)
		time.Sleep(10 * time.Minute)
		if err := s.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if n := len(tries); n < 20 || n > 60 {
			t.Fatalf("%d attempts in ten minutes", n)
		}
		for i := 1; i < len(tries); i++ {
			want := min(200*time.Millisecond<<(min(i, 20)-1), 30*time.Second)
			if pause := tries[i].Sub(tries[i-1]); pause < want/2 || pause > want*3/2 {
				t.Fatalf("pause %d was %v, want about %v", i, pause, want)
			}
		}
	})
}
