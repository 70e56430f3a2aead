package main

import (
	"context"

	rest "github.com/anybridge/anybridge/adapters/http"
	"github.com/anybridge/anybridge/cmd/anybridge/internal/audit"
	"github.com/anybridge/anybridge/core"
)

// openAudit opens the audit log of the configuration, if it wants one.
func (a *app) openAudit() (err error) {
	if file := a.config.AuditFile(); file != "" {
		a.audit, err = audit.Open(audit.Options{File: file, Log: a.log})
	}
	return err
}

// record writes to the audit log.
func (a *app) record(entries ...rest.AuditEntry) {
	if a.audit != nil {
		a.audit.Write(entries...)
	}
}

// closeAudit comes when nothing can change any more.
func (a *app) closeAudit(ctx context.Context) error {
	if a.audit == nil {
		return nil
	}
	return a.audit.Close(ctx)
}

// hangUp reloads since the process got a signal. What is wrong is in the log.
func (a *app) hangUp() {
	err := a.Reload(context.Background())
	a.record(rest.NewAuditEntry("", "reload", core.Pattern{}, "", err))
}
