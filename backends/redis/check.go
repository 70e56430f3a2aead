package redis

import "encoding/json"

// CheckConfig finds every mistake in a section of the configuration without opening
// anything. Each line of the error begins with the path of the key that is wrong.
func CheckConfig(section json.RawMessage) error {
	_, err := parseConfig(section)
	return err
}
