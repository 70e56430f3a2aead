package config

import (
	"cmp"
	"math"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// DefaultMaxBytes is how much the engine may store.
const DefaultMaxBytes = 10 << 30

// Bounds of the engine's settings.
const (
	minStore    = 64 << 20
	maxStore    = 1 << 50
	minWaiting  = 1 << 20
	minKeepDead = time.Minute
	maxKeepDead = 10 * 365 * 24 * time.Hour
	maxCalls    = 1_000_000
	maxReplicas = 5
)

// Durabilities.
const (
	DurabilityProcess = "process" // what is acknowledged survives the death of the process
	DurabilityDisk    = "disk"    // it is synced to the disk
)

// Engine says where what is owed is kept, and how much of it. Zero fields mean the
// engine's defaults.
type Engine struct {
	URL        string // NATS servers, separated by commas; "": the embedded store
	Creds, CA  string // files, absolute
	Name       string
	Replicas   int
	Durability string
	MaxBytes   int64
	MaxWaiting int64 // bytes for one endpoint
	KeepDead   time.Duration
	MaxCalls   int
}

// engineName is what may begin the names of streams.
var engineName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

func (d *decoder) engine(root section) Engine {
	e := Engine{}
	v := root.get("engine", object)
	if v == nil {
		return e
	}
	s := d.section(v, "engine", "url", "creds", "ca", "name", "replicas", "durability", "max_bytes", "max_waiting", "keep_dead", "max_calls")
	e.URL = d.servers(s)
	e.Creds, e.CA = d.file(s, "creds"), d.file(s, "ca")
	if v := s.text("name"); v != nil {
		if e.Name = v.text; !engineName.MatchString(v.text) {
			d.add(v, "name must be 1 to 32 letters, digits, _ or -")
		}
	}
	e.Replicas = d.count(s, "replicas", 0, 1, maxReplicas)
	if !s.has("url") {
		for _, key := range []string{"creds", "ca", "name", "replicas"} {
			if entry := s.n.find(key); entry != nil {
				d.src.add(entry.line, entry.column, "%s is for a NATS server of your own: without url the engine's store is embedded", key)
			}
		}
	}
	e.Durability = d.durability(s)
	e.MaxBytes = d.size(s, "max_bytes", minStore, maxStore)
	e.MaxWaiting = d.size(s, "max_waiting", minWaiting, maxStore)
	if e.MaxWaiting > cmp.Or(e.MaxBytes, DefaultMaxBytes) {
		d.add(s.n.find("max_waiting").value, "max_waiting, of one endpoint, is more than max_bytes, of all of them")
	}
	e.KeepDead = d.duration(s, "keep_dead", 0, maxKeepDead)
	if e.KeepDead > 0 && e.KeepDead < minKeepDead {
		d.add(s.n.find("keep_dead").value, "keep_dead must be at least %s", minKeepDead)
	}
	e.MaxCalls = d.count(s, "max_calls", 0, 1, maxCalls)
	return e
}

// servers reads the URLs of NATS servers.
func (d *decoder) servers(s section) string {
	v := s.text("url")
	if v == nil {
		return ""
	}
	for one := range strings.SplitSeq(v.text, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		known := err == nil && (u.Scheme == "nats" || u.Scheme == "tls" || u.Scheme == "ws" || u.Scheme == "wss")
		if !known || u.Hostname() == "" {
			d.add(v, "url must be a NATS server such as nats://nats.example:4222 (nats, tls, ws or wss), or several of one cluster, separated by commas")
			return ""
		}
		if _, secret := u.User.Password(); secret {
			d.src.warn(v.line, v.column, "url holds a password: creds keeps it out of this file")
		}
	}
	return v.text
}

func (d *decoder) durability(s section) string {
	v := s.text("durability")
	switch {
	case v == nil:
		return ""
	case v.text != DurabilityProcess && v.text != DurabilityDisk:
		d.add(v, "durability must be %s or %s", DurabilityProcess, DurabilityDisk)
		return ""
	case s.has("url"):
		d.src.warn(v.line, v.column, "durability says nothing about a NATS server of your own: its sync_interval decides")
	}
	return v.text
}

// file reads the path of a file, which it makes absolute.
func (d *decoder) file(s section, key string) string {
	if v := s.text(key); v != nil {
		return d.path(v.text)
	}
	return ""
}

// units are what a size can be counted in.
func units() map[string]float64 {
	return map[string]float64{
		"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
		"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40,
	}
}

// size reads a number of bytes: a whole number, or one with a unit. It is 0 where
// the file says nothing.
func (d *decoder) size(s section, key string, least, most int64) int64 {
	e := s.n.find(key)
	if e == nil || e.value.bad {
		return 0
	}
	if e.value.kind != text && e.value.kind != number {
		d.wrong(e.value, key, text)
		return 0
	}
	digits := strings.TrimRight(e.value.text, " ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
	unit, known := units()[strings.ToUpper(strings.TrimSpace(e.value.text[len(digits):]))]
	v, err := strconv.ParseFloat(digits, 64)
	v *= unit
	switch {
	case err != nil || !known || math.IsNaN(v):
		d.add(e.value, `%s must be a size such as "10GiB" or "500MB", or a number of bytes`, key)
	case v < float64(least) || v > float64(most):
		d.add(e.value, "%s must be %s to %s", key, sizeText(least), sizeText(most))
	case v != math.Trunc(v):
		d.add(e.value, "%s must be whole bytes", key)
	default:
		return int64(v)
	}
	return 0
}

// sizeText is a power of two in the largest unit that fits.
func sizeText(n int64) string {
	for _, u := range []string{"bytes", "KiB", "MiB", "GiB"} {
		if n < 1<<10 {
			return strconv.FormatInt(n, 10) + u
		}
		n >>= 10
	}
	return strconv.FormatInt(n, 10) + "TiB"
}
