package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/examples"
	"github.com/anybridge/anybridge/plugins"
)

func newPlugin(c cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "plugin",
		Short:   "Help with backends of your own",
		Example: `  anybridge plugin new mqtt`,
		Args:    needArgs(0, 0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPluginNew(c))
	return cmd
}

func newPluginNew(c cli) *cobra.Command {
	var python bool
	var checkout string
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Write a backend to begin with into the folder NAME",
		Long: `Write a small but whole backend into the new folder NAME: a message system in memory
with an echo in it. It builds, runs and passes the conformance suite as it is; put your
system in the place of the echo.`,
		Example: `  anybridge plugin new mqtt
  anybridge plugin new mqtt --python`,
		Args: needArgs(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			name := args[0]
			if !core.ValidBackendName(name) {
				return fmt.Errorf("%q cannot name a backend: want 1 to 64 characters of a-z, 0-9, _ and -, beginning with a letter", name)
			}
			files, err := pluginFiles(name, python, checkout)
			if err != nil {
				return fmt.Errorf("write a plugin: %w", err)
			}
			if err := writePlugin(name, files); err != nil {
				return err
			}
			steps := "go mod tidy && go test ./... && go build"
			if python {
				steps = "./setup && go mod tidy && go test ./..."
			}
			_, err = fmt.Fprintf(c.out, "wrote %s: now cd %s && %s\n", name, name, steps)
			return err
		},
	}
	cmd.Flags().BoolVar(&python, "python", false, "write it in Python; its test is in Go all the same")
	cmd.Flags().StringVar(&checkout, "checkout", "", "use the source of anybridge in this folder, in place of a release")
	return cmd
}

// writePlugin makes the folder, which must not exist.
func writePlugin(dir string, files map[string]string) error {
	if err := os.Mkdir(dir, 0o755); errors.Is(err, fs.ErrExist) { //nolint:gosec // a program's source is no secret
		return fmt.Errorf("%s exists already", dir)
	} else if err != nil {
		return fmt.Errorf("write a plugin: %w", err)
	}
	for file, text := range files {
		mode := fs.FileMode(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), mode); err != nil {
			return fmt.Errorf("write a plugin: %w", err)
		}
	}
	return nil
}

// pluginFiles makes the files of a plugin from the examples.
func pluginFiles(name string, python bool, checkout string) (map[string]string, error) {
	from, rename := "plugin-echo", strings.NewReplacer(
		"Plugin-echo is a complete backend for anybridge in one file:", "This is a backend for anybridge:",
		" Copy it to begin a backend of your own; build it with\n// \"go build\" and put its path into the configuration:", " Build it with \"go build\" and put its\n// path into the configuration:",
		"echo: {plugin: ./plugin-echo,", name+": {plugin: ./"+name+",",
		`Kind: "echo"`, `Kind: "`+name+`"`,
	)
	if python {
		from, rename = "plugin-python", strings.NewReplacer(
			"A whole backend for anybridge in Python:", "A backend for anybridge:",
			" Begin one of your own with a copy.", "",
			`Info("echo"`, `Info("`+name+`"`,
			"$here/echo.py", "$here/"+name+".py",
			"../../.tools/plugin-venv", ".venv",
			`; err != nil && os.Getenv("ANYBRIDGE_TEST_CLIENTS") != "required" {`, "; err != nil {",
			"VENV=$PWD/.tools/plugin-venv examples/plugin-python/setup", "./setup",
		)
	}
	files := map[string]string{}
	entries, err := fs.ReadDir(examples.Plugins, from)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		text, err := fs.ReadFile(examples.Plugins, from+"/"+entry.Name())
		if err != nil {
			return nil, err
		}
		file := entry.Name()
		if file == "echo.py" {
			file = name + ".py"
		}
		files[file] = rename.Replace(string(text))
	}
	if python {
		files["backend.proto"] = plugins.Protocol
	}
	files["go.mod"], err = pluginModule(name, checkout)
	return files, err
}

// pluginModule is the go.mod. "go mod tidy" fills in the rest.
func pluginModule(name, checkout string) (string, error) {
	text := "module example.org/" + name + "\n\ngo 1.26\n"
	if checkout == "" {
		if strings.HasPrefix(version, "v") && !strings.Contains(version, "-") {
			text += "\nrequire github.com/anybridge/anybridge " + version + "\n"
		}
		return text, nil
	}
	path, err := filepath.Abs(checkout)
	if err != nil {
		return "", err
	}
	return text + "\nrequire github.com/anybridge/anybridge v0.0.0\n\nreplace github.com/anybridge/anybridge => " + path + "\n", nil
}
