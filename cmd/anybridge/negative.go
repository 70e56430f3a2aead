package main

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// protectNegativeNumbers makes "call add2 -5 3 --timeout 2s" mean what it says:
// where the command line has an argument that is a negative number, which would be
// taken for a flag, the arguments are put behind "--" and the flags before it.
func protectNegativeNumbers(root *cobra.Command, args []string) []string {
	if !slices.ContainsFunc(args, negativeNumber) {
		return args
	}
	cmd, rest, err := root.Find(args)
	if err != nil || cmd.Name() != "call" && cmd.Name() != "publish" {
		return args
	}
	var flags, plain []string
	for i := 0; i < len(rest); i++ {
		arg := rest[i]
		switch {
		case arg == "--":
			plain = append(plain, rest[i+1:]...)
			i = len(rest)
		case !strings.HasPrefix(arg, "-") || arg == "-" || negativeNumber(arg):
			plain = append(plain, arg)
		default:
			flags = append(flags, arg)
			if takesValue(cmd, arg) && i+1 < len(rest) {
				i++
				flags = append(flags, rest[i])
			}
		}
	}
	return slices.Concat([]string{cmd.Name()}, flags, []string{"--"}, plain)
}

func negativeNumber(arg string) bool {
	return len(arg) > 1 && arg[0] == '-' && arg[1] >= '0' && arg[1] <= '9' && json.Valid([]byte(arg))
}

// takesValue reports whether the flag's value is the next argument.
func takesValue(cmd *cobra.Command, arg string) bool {
	if strings.Contains(arg, "=") {
		return false
	}
	var flag *pflag.Flag
	if name, long := strings.CutPrefix(arg, "--"); long {
		flag = cmd.Flag(name)
	} else {
		flag = cmd.Flags().ShorthandLookup(arg[1:2])
	}
	return flag != nil && flag.NoOptDefVal == ""
}
