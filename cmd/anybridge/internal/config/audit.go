package config

import "path/filepath"

// DefaultAuditFile is the audit log's name in the data folder.
const DefaultAuditFile = "audit.log"

// Audit says where the audit log is written.
type Audit struct {
	Off  bool
	File string // absolute; "" for the one in the data folder
}

// AuditFile is where the audit log is written, or "" if there is none.
func (c *Config) AuditFile() string {
	switch {
	case c.Audit.Off:
		return ""
	case c.Audit.File != "":
		return c.Audit.File
	}
	return filepath.Join(c.DataDir, DefaultAuditFile)
}

// audit reads "off", or where the log goes.
func (d *decoder) audit(root section) Audit {
	e := root.n.find("audit")
	switch {
	case e == nil || e.value.bad:
		return Audit{}
	case e.value.kind == text && e.value.text == "off", e.value.kind == boolean && e.value.text == "false":
		return Audit{Off: true}
	case e.value.kind != object:
		d.add(e.value, "audit must be off, or a map with the file, such as {file: audit.log}")
		return Audit{}
	}
	s := d.section(e.value, "audit", "file")
	if v := s.text("file"); v != nil {
		return Audit{File: d.path(v.text)}
	}
	return Audit{}
}
