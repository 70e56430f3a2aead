package core

// Held counts the registrations and subscriptions of an owner.
func (b *Bridge) Held(owner string) int {
	b.mu.RLock()
	defer b.mu.RUnlock()
	n := 0
	for _, g := range b.subscriptions {
		for _, s := range *g.members.Load() {
			if s.Owner == owner {
				n++
			}
		}
	}
	for _, g := range b.registrations {
		for _, r := range *g.members.Load() {
			if r.Owner == owner {
				n++
			}
		}
	}
	return n
}

// Lacks counts the patterns that the owner has not registered (VerbRegister), or
// not subscribed to (VerbSubscribe).
func (b *Bridge) Lacks(owner string, v Verb, patterns []Pattern) int {
	b.mu.RLock()
	defer b.mu.RUnlock()
	n := 0
	for _, p := range patterns {
		if v == VerbRegister && !b.registers(owner, p) || v == VerbSubscribe && !b.subscribes(owner, p) {
			n++
		}
	}
	return n
}

func (b *Bridge) registers(owner string, p Pattern) bool {
	if g := b.registrations[p]; g != nil {
		for _, r := range *g.members.Load() {
			if r.Owner == owner {
				return true
			}
		}
	}
	return false
}

func (b *Bridge) subscribes(owner string, p Pattern) bool {
	if g := b.subscriptions[p]; g != nil {
		for _, s := range *g.members.Load() {
			if s.Owner == owner {
				return true
			}
		}
	}
	return false
}
