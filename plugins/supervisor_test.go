package plugins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
)

// serveAdd answers the invocations of a registration until its stream ends.
func serveAdd(s core.Stream[*core.Invocation]) (served *atomic.Int64, done chan error) {
	served, done = &atomic.Int64{}, make(chan error, 1)
	go func() {
		for {
			invs, err := s.Next(context.Background())
			if err != nil {
				done <- err
				return
			}
			for _, inv := range invs {
				inv.Reply(&core.Result{Payload: inv.Payload}, nil)
				served.Add(1)
			}
		}
	}()
	return served, done
}

func TestKillWhileBusy(t *testing.T) {
	start := time.Now()
	p, _ := launch(t)
	// What a busy machine, or the race detector, makes of the promised second.
	limit := max(time.Second, 20*time.Since(start))
	sub, err := p.Subscribe(t.Context(), exact("echo.news"))
	if err != nil {
		t.Fatal(err)
	}
	reg, err := p.Register(t.Context(), exact("add"), core.RegisterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, ended := serveAdd(reg)

	const callers = 64
	var stop atomic.Bool
	var calls, failed, after atomic.Int64
	var killing, killed atomic.Bool
	var wg sync.WaitGroup
	for i := range callers {
		procedure := []string{"echo", "add"}[i%2]
		wg.Go(func() {
			for !stop.Load() {
				afterKill := killed.Load()
				_, err := call(patient(t), p, procedure, `[1]`)
				calls.Add(1)
				switch {
				case err == nil && afterKill:
					after.Add(1)
				case err == nil:
				case unavailable(err):
					failed.Add(1)
					if core.AsError(err).RetryAfter == 0 {
						t.Errorf("no RetryAfter in %v", err)
					}
					time.Sleep(time.Millisecond) // even an impatient caller waits a little
				case core.CodeOf(err) == core.NoSuchProcedure && killing.Load():
					// The fresh process is up and "add" is about to be registered again.
				default:
					t.Errorf("got %v (%s)", err, core.CodeOf(err))
					return
				}
			}
		})
	}
	eventually(t, "busy", func() bool { return calls.Load() > 1000 })
	// In flight for certain when the process dies:
	blocked := make(chan error, callers)
	for range callers {
		go func() { _, err := call(context.Background(), p, "block", `[]`); blocked <- err }()
	}
	eventually(t, "blocked", func() bool { return counter(t, p, "blocked") == callers })

	start = time.Now()
	killing.Store(true)
	kill9(t, p.Process().PID)
	killed.Store(true)
	for range callers {
		wantCode(t, <-blocked, core.Unavailable)
	}
	answered := time.Since(start)
	eventually(t, "calls work again", func() bool { return after.Load() > callers })
	back := time.Since(start)
	eventually(t, "registration works again", func() bool {
		_, err := call(t.Context(), p, "add", `[1]`)
		return err == nil
	})
	eventually(t, "subscription is back", func() bool { return counter(t, p, "subs_now") == 1 })
	restored := time.Since(start)
	stop.Store(true)
	wg.Wait()
	t.Logf("in-flight calls answered after %s, calls work after %s, all restored after %s; %d calls, %d refused", answered, back, restored, calls.Load(), failed.Load())

	if restored > limit {
		t.Errorf("restored after %s, want at most %s", restored, limit)
	}

	if err := p.Publish(t.Context(), &core.Event{Topic: name("news")}); err != nil {
		t.Fatal(err)
	}
	if told := nextEvents(t, sub, 2); told[0].Gap == nil || told[1].Gap != nil {
		t.Errorf("got %+v, want a gap and the event", told)
	}
	if process := p.Process(); process.Restarts != 1 || process.LastExit != "signal: killed" {
		t.Errorf("got %+v", process)
	}
	select {
	case err := <-ended:
		t.Errorf("the registration's stream ended: %v", err)
	default:
	}
}

func TestRepeatedKills(t *testing.T) {
	p, _ := launch(t, func(s *Spec) { s.Limits.BackoffMax = 200 * time.Millisecond })
	sub, err := p.Subscribe(t.Context(), exact("echo.news"))
	if err != nil {
		t.Fatal(err)
	}
	const kills = 6
	for i := range kills {
		pid := p.Process().PID
		kill9(t, pid)
		eventually(t, "restarted", func() bool { return p.Process().Restarts == i+1 })
		eventually(t, "subscribed again", func() bool { return counter(t, p, "subs_now") == 1 })
		if err := p.Publish(t.Context(), &core.Event{Topic: name("news")}); err != nil {
			t.Fatal(err)
		}
		nextEvents(t, sub, 1)
	}
}

func TestWhileTheProcessIsDown(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "plugin")
	self := testSpec(t).Command[0]
	if err := os.Symlink(self, binary); err != nil {
		t.Fatal(err)
	}
	p, _ := launch(t, func(s *Spec) { s.Command[0] = binary; s.Limits.BackoffMax = 200 * time.Millisecond })
	reg, err := p.Register(t.Context(), exact("add"), core.RegisterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	invoked := make(chan *core.Invocation, 1)
	go func() {
		invs, _ := reg.Next(context.Background())
		invoked <- invs[0]
	}()
	inFlight := make(chan error, 1)
	go func() { _, err := call(context.Background(), p, "add", `[]`); inFlight <- err }()
	inv := <-invoked

	if err := os.Remove(binary); err != nil { // no way back for now
		t.Fatal(err)
	}
	kill9(t, p.Process().PID)
	wantCode(t, <-inFlight, core.Unavailable)
	<-inv.Canceled
	inv.Reply(&core.Result{}, nil) // too late, ignored

	eventually(t, "down", func() bool { return p.Process().State == core.Down })
	s, err := p.Status(t.Context())
	if err != nil || s.State == core.Up || !strings.Contains(s.Reason, "does not exist") {
		t.Errorf("Status: got %+v, %v", s, err)
	}
	_, err = call(t.Context(), p, "echo", `[]`)
	if wantCode(t, err, core.Unavailable); core.AsError(err).RetryAfter == 0 || !strings.Contains(err.Error(), `"test" is being restarted`) {
		t.Errorf("got %v", err)
	}
	wantCode(t, p.Publish(t.Context(), &core.Event{Topic: name("news")}), core.Unavailable)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = p.Subscribe(ctx, exact("news"))
	wantCode(t, err, core.Timeout)

	// A subscription that may wait is there when the process is.
	subscribed := make(chan error, 1)
	go func() { _, err := p.Subscribe(patient(t), exact("other")); subscribed <- err }()
	if err := os.Symlink(self, binary); err != nil {
		t.Fatal(err)
	}
	if err := <-subscribed; err != nil {
		t.Fatal(err)
	}
	eventually(t, "restored", func() bool { return counter(t, p, "subs_now") == 1 && counter(t, p, "regs_now") == 1 })
	if counter(t, p, "replies") != 0 {
		t.Error("a late reply reached the fresh process")
	}
}

func TestRefusedReplays(t *testing.T) {
	codeFile := filepath.Join(t.TempDir(), "code")
	p, logged := launch(t, func(s *Spec) { s.Config = json.RawMessage(fmt.Sprintf(`{"code_file":%q}`, codeFile)) })
	write := func(code core.Code) {
		t.Helper()
		if err := os.WriteFile(codeFile, []byte(code), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(core.Forbidden)
	_, err := p.Subscribe(t.Context(), exact("a"))
	wantCode(t, err, core.Forbidden)
	_ = os.Remove(codeFile)

	sub, err := p.Subscribe(t.Context(), exact("a"))
	if err != nil {
		t.Fatal(err)
	}
	reg, err := p.Register(t.Context(), exact("r"), core.RegisterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, ended := serveAdd(reg)

	// Somebody else still has it: asked again until it is free.
	write(core.AlreadyExists)
	kill9(t, p.Process().PID)
	eventually(t, "refused twice", func() bool { return counter(t, p, "refusals") >= 3 })
	// Closing one that waits for its next try is no trouble.
	other, err := p.Subscribe(t.Context(), exact("never"))
	wantCode(t, err, core.AlreadyExists)
	_ = other
	_ = os.Remove(codeFile)
	eventually(t, "registered again", func() bool { return counter(t, p, "regs_now") == 1 })
	eventually(t, "subscription ended or restored", func() bool { return counter(t, p, "subs_now") == 1 })

	// For good: the stream ends with the reason.
	write(core.Forbidden)
	kill9(t, p.Process().PID)
	wantCode(t, <-ended, core.Forbidden)
	told, err := sub.Next(patient(t))
	if err != nil || len(told) != 1 || told[0].Gap == nil || !told[0].Gap.Since.Before(told[0].Gap.Until) {
		t.Errorf("got %+v, %v; want the gap between the first two processes", told, err)
	}
	_, err = sub.Next(patient(t))
	wantCode(t, err, core.Forbidden)
	if logged.find("feed not restored") == nil {
		t.Error("nothing in the log")
	}
}

func TestHungProcessIsReplaced(t *testing.T) {
	p, logged := launch(t, func(s *Spec) {
		s.Limits.PingEvery = 50 * time.Millisecond
		s.Limits.PingTimeout = 3 * time.Second
	})
	pid := p.Process().PID
	blocked := make(chan error, 1)
	go func() { _, err := call(context.Background(), p, "block", `[]`); blocked <- err }()
	eventually(t, "blocked", func() bool { return counter(t, p, "blocked") == 1 })
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	wantCode(t, <-blocked, core.Unavailable)
	eventually(t, "replaced", func() bool { return p.Process().Restarts == 1 })
	if alive(pid) {
		t.Error("the hung process is still there")
	}
	if got := p.Process().LastExit; !strings.Contains(got, "hung") {
		t.Errorf("last exit %q", got)
	}
	if logged.find("plugin process died") == nil {
		t.Error("nothing in the log")
	}
}

func TestReconfigure(t *testing.T) {
	p, _ := launch(t, func(s *Spec) { s.Config = json.RawMessage(`{"label":"one"}`) })
	pid := p.Process().PID
	sub, err := p.Subscribe(t.Context(), exact("echo.news"))
	if err != nil {
		t.Fatal(err)
	}
	check := func(label string, samePID bool) {
		t.Helper()
		if got := mustCall(t, p, "label", `[]`); got != `["`+label+`"]` {
			t.Errorf("label %s, want %s", got, label)
		}
		if listen := p.Info().Listen[0]; listen != "test://"+label {
			t.Errorf("Info says %s", listen)
		}
		if (p.Process().PID == pid) != samePID {
			t.Errorf("pid was %d, is %d", pid, p.Process().PID)
		}
		pid = p.Process().PID
		eventually(t, "subscribed", func() bool { return counter(t, p, "subs_now") == 1 })
		if err := p.Publish(t.Context(), &core.Event{Topic: name("news")}); err != nil {
			t.Fatal(err)
		}
		nextEvents(t, sub, 1)
	}
	open := func(config string) error {
		_, err := p.Open(patient(t), json.RawMessage(config))
		return err
	}
	check("one", true)

	if err := open(`{"label":"two"}`); err != nil {
		t.Fatal(err)
	}
	check("two", true)

	wantCode(t, open(`{"label":"x","refuse":true}`), core.InvalidArgument)
	check("two", true)

	if err := open(`{"label":"three","replace":true}`); err != nil {
		t.Fatal(err)
	}
	check("three", false)

	// Refused by the fresh process: the former configuration comes back.
	wantCode(t, open(`{"label":"x","replace":true,"refuse":true}`), core.InvalidArgument)
	eventually(t, "back", func() bool { return p.Process().State == core.Up })
	check("three", false)

	// And a process that dies is opened with what was configured last.
	kill9(t, pid)
	eventually(t, "restarted", func() bool { q := p.Process(); return q.State == core.Up && q.PID != pid })
	check("three", false)
}

func TestReconfigureWhileDown(t *testing.T) {
	p, _ := launch(t, func(s *Spec) { s.Limits.BackoffMin = time.Hour; s.Limits.BackoffMax = time.Hour })
	kill9(t, p.Process().PID)
	eventually(t, "restarted at once", func() bool { return p.Process().Restarts == 1 })
	kill9(t, p.Process().PID)
	eventually(t, "dead", func() bool { return p.Process().PID == 0 })
	if _, err := p.Open(patient(t), json.RawMessage(`{"label":"new"}`)); err != nil {
		t.Fatal(err)
	}
	if got := mustCall(t, p, "label", `[]`); got != `["new"]` {
		t.Errorf("label %s", got)
	}
}

func TestCloseWhileBusy(t *testing.T) {
	p, logged := launch(t)
	sub, err := p.Subscribe(t.Context(), exact("news"))
	if err != nil {
		t.Fatal(err)
	}
	reg, err := p.Register(t.Context(), exact("add"), core.RegisterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, ended := serveAdd(reg)
	var wg sync.WaitGroup
	var calls atomic.Int64
	for i := range 16 {
		procedure := []string{"echo", "add"}[i%2]
		wg.Go(func() {
			for {
				_, err := call(patient(t), p, procedure, `[1]`)
				if calls.Add(1); err != nil {
					if !unavailable(err) {
						t.Errorf("got %v (%s)", err, core.CodeOf(err))
					}
					return
				}
			}
		})
	}
	eventually(t, "busy", func() bool { return calls.Load() > 500 })
	pid := p.Process().PID
	closePlugin(t, p)
	wg.Wait()
	if alive(pid) {
		t.Error("the process is still there")
	}
	if logged.find("test backend closes") == nil {
		t.Error("the backend was not closed")
	}
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("registration ended with %v", err)
	}
	if _, err := sub.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("subscription ended with %v", err)
	}
	_, err = call(t.Context(), p, "echo", `[]`)
	wantCode(t, err, core.Unavailable)
	_, err = p.Subscribe(t.Context(), exact("news"))
	wantCode(t, err, core.Unavailable)
	_, err = p.Open(t.Context(), nil)
	wantCode(t, err, core.Unavailable)
	if s, err := p.Status(t.Context()); err != nil || s.State != core.Down {
		t.Errorf("Status: got %+v, %v", s, err)
	}
	closePlugin(t, p) // again
}

func TestCloseDrainsCalls(t *testing.T) {
	p, _ := launch(t)
	answers := make(chan error, 1)
	go func() { _, err := call(context.Background(), p, "until close", `[]`); answers <- err }()
	eventually(t, "blocked", func() bool { return counter(t, p, "blocked") == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := p.Close(ctx); err != nil { // half of the time for the call, then Backend.Close ends it
		t.Fatal(err)
	}
	if err := <-answers; err != nil {
		t.Errorf("a call that Close could have answered got %v", err)
	}
}

func TestCloseOfABackendThatDoesNot(t *testing.T) {
	p, _ := launch(t, func(s *Spec) { s.Config = json.RawMessage(`{"slow_close":true}`) })
	pid := p.Process().PID
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := p.Close(ctx); core.CodeOf(err) != core.Timeout {
		t.Errorf("Close: %v", err)
	}
	if d := time.Since(start); d > patience/2 || alive(pid) {
		t.Errorf("took %s", d)
	}
	p.closed = nil // launch's own Close is not to complain
}

func TestCloseOfADyingProcess(t *testing.T) {
	for range 5 { // whichever of the two the supervisor sees first
		p, _ := launch(t)
		kill9(t, p.Process().PID)
		closePlugin(t, p)
	}
}

func TestCloseWhileDown(t *testing.T) {
	p, _ := launch(t, func(s *Spec) { s.Limits.BackoffMin = time.Hour; s.Limits.BackoffMax = time.Hour })
	kill9(t, p.Process().PID)
	eventually(t, "restarted at once", func() bool { return p.Process().Restarts == 1 })
	kill9(t, p.Process().PID)
	eventually(t, "dead", func() bool { return p.Process().PID == 0 })
	waiting := make(chan error, 1)
	go func() { _, err := p.Subscribe(patient(t), exact("a")); waiting <- err }()
	closePlugin(t, p)
	wantCode(t, <-waiting, core.Unavailable)
}
