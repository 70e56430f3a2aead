package router

// Check finds every mistake in the configuration without listening. Files that it
// names are read.
func (c Config) Check() error {
	_, err := newSettings(c)
	return err
}
