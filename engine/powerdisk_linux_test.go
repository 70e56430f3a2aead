package engine_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestDiskForgetsWhatWasNotSynced shows the rules of the disk, through the system
// calls of a program. What may survive and need not is chosen at random, so each case
// lists all that can be left.
func TestDiskForgetsWhatWasNotSynced(t *testing.T) {
	for name, test := range map[string]struct {
		do   func(in string)
		left []string // "path=content", sorted
	}{
		"a file that was not synced": {
			do:   func(in string) { writeFile(in, "f", "abc", 0) },
			left: []string{"[]", "[f=]", "[f=a]", "[f=ab]", "[f=abc]"},
		},
		"a synced file has its name, and its folders": {
			do: func(in string) {
				must(os.Mkdir(filepath.Join(in, "d"), 0o700))
				writeFile(in, "d/f", "abc", os.O_SYNC)
			},
			left: []string{"[d/= d/f=abc]"},
		},
		"a synced folder has its names, not what is in the files": {
			do: func(in string) {
				writeFile(in, "f", "abc", 0)
				syncPath(in)
			},
			left: []string{"[f=]", "[f=a]", "[f=ab]", "[f=abc]"},
		},
		"changes of a folder keep their order": {
			do: func(in string) {
				writeFile(in, "a", "1", os.O_SYNC)
				must(os.Rename(filepath.Join(in, "a"), filepath.Join(in, "b")))
				must(os.Rename(filepath.Join(in, "b"), filepath.Join(in, "c")))
			},
			left: []string{"[a=1]", "[b=1]", "[c=1]"},
		},
		"a removal lasts when the folder is synced": {
			do: func(in string) {
				writeFile(in, "a", "1", os.O_SYNC)
				must(os.Remove(filepath.Join(in, "a")))
				syncPath(in)
			},
			left: []string{"[]"},
		},
		"what is written over a synced file": {
			do: func(in string) {
				writeFile(in, "f", "abc", os.O_SYNC)
				writeFile(in, "f", "x", os.O_TRUNC)
			},
			left: []string{"[f=abc]", "[f=]", "[f=x]", "[f=xbc]"}, // emptied, or written, or both
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, journal := range []bool{true, false} {
				d := newDisk(journal, nil)
				folder := mount(t, d)
				test.do(fmt.Sprintf("/proc/self/fd/%d", folder.Fd()))
				folder.Close()
				seen := map[string]bool{}
				for seed := range uint64(200) {
					var left []string
					for path, content := range d.survives(rand.New(rand.NewPCG(seed, 0))) {
						left = append(left, path+"="+string(content))
					}
					slices.Sort(left)
					seen[fmt.Sprint(left)] = true
				}
				if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, slices.Sorted(slices.Values(test.left))) {
					t.Errorf("journal %v: %v can be left, want %v", journal, got, test.left)
				}
			}
		})
	}
}

// TestJournalKeepsTheOrderOfAllFolders shows what the two kinds of disks differ in: a
// rename in one folder, and then a synced write in another.
func TestJournalKeepsTheOrderOfAllFolders(t *testing.T) {
	for _, journal := range []bool{true, false} {
		d := newDisk(journal, image{"a/": nil, "b/": nil, "a/1": nil})
		folder := mount(t, d)
		in := fmt.Sprintf("/proc/self/fd/%d", folder.Fd())
		must(os.Rename(filepath.Join(in, "a/1"), filepath.Join(in, "a/2")))
		writeFile(in, "b/f", "x", os.O_SYNC)
		folder.Close()
		renamed := 0
		for seed := range uint64(200) {
			left := d.survives(rand.New(rand.NewPCG(seed, 0)))
			if string(left["b/f"]) != "x" {
				t.Fatalf("journal %v: the synced file is not in %v", journal, left.paths())
			}
			if _, is := left["a/2"]; is {
				renamed++
			}
		}
		if always := renamed == 200; always != journal || renamed == 0 {
			t.Errorf("journal %v: the rename survives %d times of 200", journal, renamed)
		}
	}
}

// writeFile writes a file in one go.
func writeFile(in, name, content string, flags int) {
	f, err := os.OpenFile(filepath.Join(in, name), os.O_CREATE|os.O_WRONLY|flags, 0o600)
	must(err)
	_, err = f.WriteString(content)
	must(err)
	must(f.Close())
}

// syncPath syncs a file or folder.
func syncPath(path string) {
	f, err := os.Open(path)
	must(err)
	must(f.Sync())
	must(f.Close())
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
