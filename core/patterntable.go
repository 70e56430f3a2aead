package core

import (
	"slices"
	"strings"
)

// PatternTable finds the patterns that cover a name without looking at each of
// them: exact ones by one map look-up, prefixes by one look-up per distinct prefix
// length, wildcards by walking a tree of components. It is not safe for concurrent
// use while it is being changed. The zero value is empty and ready.
type PatternTable[T any] struct {
	exact    map[Address]T
	prefixes map[Address]T
	lengths  []prefixLength // ascending by length
	wild     map[string]*wildNode[T]
	size     int
}

type prefixLength struct{ length, count int }

// wildNode is one component of the wildcard tree; the child "" is the wildcard.
type wildNode[T any] struct {
	children map[string]*wildNode[T]
	value    *T
}

// Len is the number of patterns in the table.
func (t *PatternTable[T]) Len() int { return t.size }

// Set stores v for p and replaces what was stored for it.
func (t *PatternTable[T]) Set(p Pattern, v T) {
	switch p.Match {
	case Prefix:
		if t.prefixes == nil {
			t.prefixes = map[Address]T{}
		}
		if _, had := t.prefixes[p.Address]; !had {
			t.size++
			t.countLength(len(p.Name), 1)
		}
		t.prefixes[p.Address] = v
	case Wildcard:
		if t.wild == nil {
			t.wild = map[string]*wildNode[T]{}
		}
		node := t.wild[p.Backend]
		if node == nil {
			node = &wildNode[T]{}
			t.wild[p.Backend] = node
		}
		for c := range strings.SplitSeq(p.Name, ".") {
			child := node.children[c]
			if child == nil {
				child = &wildNode[T]{}
				if node.children == nil {
					node.children = map[string]*wildNode[T]{}
				}
				node.children[c] = child
			}
			node = child
		}
		if node.value == nil {
			t.size++
		}
		node.value = &v
	default:
		if t.exact == nil {
			t.exact = map[Address]T{}
		}
		if _, had := t.exact[p.Address]; !had {
			t.size++
		}
		t.exact[p.Address] = v
	}
}

// Get returns what is stored for exactly this pattern.
func (t *PatternTable[T]) Get(p Pattern) (v T, ok bool) {
	switch p.Match {
	case Prefix:
		v, ok = t.prefixes[p.Address]
	case Wildcard:
		node := t.wild[p.Backend]
		for c := range strings.SplitSeq(p.Name, ".") {
			if node == nil {
				return v, false
			}
			node = node.children[c]
		}
		if node != nil && node.value != nil {
			return *node.value, true
		}
	default:
		v, ok = t.exact[p.Address]
	}
	return v, ok
}

// Delete forgets the pattern.
func (t *PatternTable[T]) Delete(p Pattern) {
	switch p.Match {
	case Prefix:
		if _, had := t.prefixes[p.Address]; had {
			delete(t.prefixes, p.Address)
			t.countLength(len(p.Name), -1)
			t.size--
		}
	case Wildcard:
		if root := t.wild[p.Backend]; root != nil && root.remove(p.Name) {
			t.size--
			if len(root.children) == 0 {
				delete(t.wild, p.Backend)
			}
		}
	default:
		if _, had := t.exact[p.Address]; had {
			delete(t.exact, p.Address)
			t.size--
		}
	}
}

// Each calls yield for every stored value whose pattern covers a, until yield
// returns false: the exact one first, then prefixes from the longest, then
// wildcards.
func (t *PatternTable[T]) Each(a Address, yield func(T) bool) {
	if v, ok := t.exact[a]; ok && !yield(v) {
		return
	}
	for i := len(t.lengths) - 1; i >= 0; i-- {
		n := t.lengths[i].length
		if n > len(a.Name) {
			continue
		}
		if v, ok := t.prefixes[Address{a.Backend, a.Name[:n]}]; ok && !yield(v) {
			return
		}
	}
	if root := t.wild[a.Backend]; root != nil {
		root.each(a.Name, false, yield)
	}
}

// Best returns the one value a call to a goes to, as WAMP orders them: exact
// before the longest prefix before the wildcard with the most exact components
// from the left (WAMP draft, "Pattern-based Registrations").
func (t *PatternTable[T]) Best(a Address) (best T, ok bool) {
	t.Each(a, func(v T) bool {
		best, ok = v, true
		return false
	})
	return best, ok
}

func (t *PatternTable[T]) countLength(n, delta int) {
	i, found := slices.BinarySearchFunc(t.lengths, n, func(l prefixLength, n int) int { return l.length - n })
	switch {
	case !found:
		t.lengths = slices.Insert(t.lengths, i, prefixLength{n, delta})
	case t.lengths[i].count+delta == 0:
		t.lengths = slices.Delete(t.lengths, i, i+1)
	default:
		t.lengths[i].count += delta
	}
}

// each visits the exact child before the wildcard child, which yields the order
// that Best promises. The number of visited nodes is bounded by the stored
// patterns that agree with the name so far.
func (n *wildNode[T]) each(name string, end bool, yield func(T) bool) bool {
	if end {
		return n.value == nil || yield(*n.value)
	}
	c, rest, more := strings.Cut(name, ".")
	if c == "" {
		return true // an empty component is matched by nothing
	}
	if child := n.children[c]; child != nil && !child.each(rest, !more, yield) {
		return false
	}
	if child := n.children[""]; child != nil && !child.each(rest, !more, yield) {
		return false
	}
	return true
}

func (n *wildNode[T]) remove(name string) bool {
	c, rest, more := strings.Cut(name, ".")
	child := n.children[c]
	if child == nil {
		return false
	}
	removed := false
	if more {
		removed = child.remove(rest)
	} else if child.value != nil {
		child.value, removed = nil, true
	}
	if removed && child.value == nil && len(child.children) == 0 {
		delete(n.children, c)
	}
	return removed
}
