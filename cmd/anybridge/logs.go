package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
)

// logFlags say how the bridge logs. The log goes to stderr.
type logFlags struct {
	format, level string
}

func (f *logFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.format, "log-format", "", "text or json (default text on a terminal, else json)")
	cmd.Flags().StringVar(&f.level, "log-level", "info", "debug, info, warn or error")
}

func (f *logFlags) logger(cmd *cobra.Command, w io.Writer) (*slog.Logger, error) {
	var o slog.HandlerOptions
	level := slog.LevelInfo
	if err := level.UnmarshalText([]byte(f.level)); err != nil {
		return nil, usageError{cmd: cmd, message: fmt.Sprintf("--log-level %s: want debug, info, warn or error", f.level)}
	}
	o.Level = level
	format := f.format
	if format == "" {
		format = "json"
		if terminal(w) {
			format = "text"
		}
	}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, &o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, &o)), nil
	}
	return nil, usageError{cmd: cmd, message: fmt.Sprintf("--log-format %s: want text or json", f.format)}
}

// terminal reports whether people read what is written there.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
