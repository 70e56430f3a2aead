package plugins

import (
	"log/slog"
	"strings"
	"testing"
	"time"
)

func readLog(text string) (*records, *childLog) {
	logged := &records{}
	l := &childLog{handler: logged}
	l.read(strings.NewReader(text))
	return logged, l
}

func TestChildLogKeepsOrderAndTime(t *testing.T) {
	logged, _ := readLog(`{"time":"2024-01-02T03:04:05.6Z","level":"INFO+2","msg":"m","z":1,"a":{"y":[1,{"k":null}]},"time":"again"}` + "\n")
	record := logged.find("m")
	if record == nil {
		t.Fatal(logged.String())
	}
	var b strings.Builder
	_ = slog.NewJSONHandler(&b, nil).Handle(t.Context(), *record)
	if want := `{"time":"2024-01-02T03:04:05.6Z","level":"INFO+2","msg":"m","z":1,"a":{"y":[1,{"k":null}]},"time":"again"}` + "\n"; b.String() != want {
		t.Errorf("got %s, want %s", b.String(), want)
	}
}

func TestChildLogOfOtherText(t *testing.T) {
	long := strings.Repeat("x", maxLogLine+10)
	logged, l := readLog("plain\r\n\n{not json\n{\"json\":\"but no record\"}\n" + long + "\n" + `{"@level":"trace","@message":"hclog","@timestamp":"2024-01-02T03:04:05.000001Z"}` + "\nno newline at the end")
	for _, line := range []string{"plain", "{not json", `{"json":"but no record"}`, long[:maxLogLine], "no newline at the end"} {
		if record := logged.find(line); record == nil || record.Level != slog.LevelInfo {
			t.Errorf("%.40q: got %v", line, record)
		}
	}
	if record := logged.find("hclog"); record == nil || record.Level != slog.LevelDebug-4 || !record.Time.Equal(time.Date(2024, 1, 2, 3, 4, 5, 1000, time.UTC)) {
		t.Errorf("got %v", record)
	}
	if !strings.HasSuffix(l.last(), "no newline at the end") {
		t.Errorf("last words %q", l.last())
	}
}

func TestChildLogOfCrashes(t *testing.T) {
	for _, first := range []string{"panic: oh", "fatal error: concurrent map writes", "SIGQUIT: quit", "runtime: goroutine stack exceeds 1000000000-byte limit"} {
		logged, l := readLog("before\n" + first + "\n\ngoroutine 1 [running]:\nmain.main()\n" + `{"level":"WARN","msg":"from elsewhere"}` + "\n\t/x.go:1\n")
		record := logged.find("plugin crashed")
		if record == nil || record.Level != slog.LevelError || attr(record, "panic").String() != first || !strings.HasSuffix(attr(record, "stack").String(), "main.main()\n") {
			t.Errorf("%s: got %v", first, record)
		}
		if logged.find("from elsewhere") == nil || l.last() != first {
			t.Errorf("%s: last %q in %s", first, l.last(), logged)
		}
	}
}

func FuzzChildLog(f *testing.F) {
	for _, line := range []string{
		`{"time":"2024-01-02T03:04:05Z","level":"INFO","msg":"m","a":{"b":[1,2.5,true,null,"x"]}}`,
		`{"@level":"info","@message":"m","@timestamp":"x"}`, `{"level":1,"msg":{}}`, `{"a":`, "panic: x\n\ngoroutine 1", "\xff{}",
		`{"level":"INFO","msg":"deep","a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`,
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, text string) {
		logged, _ := readLog(text)
		if len(logged.list) > strings.Count(text, "\n")+2 {
			t.Errorf("%d records from %q", len(logged.list), text)
		}
		_ = logged.String()
	})
}
