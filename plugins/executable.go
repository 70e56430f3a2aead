package plugins

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"github.com/anybridge/anybridge/core"
)

// executable finds the plugin's executable and checks what can be checked before
// it runs. Its errors name the path and what to do.
func executable(spec Spec) (string, error) {
	name := spec.Command[0]
	path, err := exec.LookPath(name)
	switch {
	case err == nil || errors.Is(err, exec.ErrDot):
		path = or(path, name)
	case errors.Is(err, fs.ErrPermission):
		return "", refused(spec, "%s is not executable: make it so with chmod +x, or mend the path", name)
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound):
		return "", refused(spec, "%s does not exist: build or install the plugin, or mend the path", name)
	default:
		return "", refused(spec, "%s cannot be run: %w", name, err)
	}
	if spec.SHA256 == "" {
		return path, nil
	}
	sum, err := checksum(path)
	if err != nil {
		return "", refused(spec, "%s cannot be read for its checksum: %w", path, err)
	}
	if !strings.EqualFold(sum, spec.SHA256) {
		return "", refused(spec, "%s has the SHA-256 checksum %s, but %s is configured: put the right file in its place, or the new sum into the configuration if you trust the file", path, sum, spec.SHA256)
	}
	return path, nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func refused(spec Spec, format string, args ...any) error {
	return core.Errorf(core.InvalidArgument, "backend %q: plugin %w", spec.Name, fmt.Errorf(format, args...))
}

func checksum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
