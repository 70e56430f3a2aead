package wamp

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// CheckConfig finds every mistake in a section of the configuration without opening
// anything. Each line of the error begins with the path of the key that is wrong.
func CheckConfig(section json.RawMessage) error {
	cfg, err := parseConfig(section)
	if err != nil || cfg.Router == nil {
		return err
	}
	if err = cfg.Router.Check(); err == nil {
		return nil
	}
	var mistakes []error
	for line := range strings.Lines(err.Error()) {
		mistakes = append(mistakes, fmt.Errorf("router.%s", strings.TrimSuffix(line, "\n")))
	}
	return errors.Join(mistakes...)
}
