package core

import "slices"

// lasting are the subscriptions that the Registry keeps.
func lasting(subs []*Subscription) []*Subscription {
	return slices.DeleteFunc(slices.Clone(subs), func(s *Subscription) bool { return s.Volatile })
}

func allVolatile(subs []*Subscription) bool {
	return !slices.ContainsFunc(subs, func(s *Subscription) bool { return !s.Volatile })
}

// lastingRegistrations are the registrations that the Registry keeps.
func lastingRegistrations(regs []*Registration) []*Registration {
	return slices.DeleteFunc(slices.Clone(regs), func(r *Registration) bool { return r.Volatile })
}

func allVolatileRegistrations(regs []*Registration) bool {
	return !slices.ContainsFunc(regs, func(r *Registration) bool { return !r.Volatile })
}
