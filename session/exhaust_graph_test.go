package session

import (
	"errors"
	"hash/maphash"
	"slices"
)

// A graph is the states that a walk has found, in the order of their distance
// from the first, and the way that led to each.
type graph struct {
	worlds []world
	from   []uint32
	via    []event
	next   []uint32 // the states that follow, those of one after those of the other
	ranges []uint32 // where in next those of a state end
	rests  int
	depth  int

	seed  maphash.Seed
	table []uint32 // open addressing: a state's number plus one, or 0
}

func newGraph() *graph {
	return &graph{seed: maphash.MakeSeed(), table: make([]uint32, 1<<10)}
}

// walk visits every state that can be reached, and checks what must hold there.
// If a promise is broken, the last state of the graph is the nearest one where
// it is.
func (md *model) walk() (*graph, error) {
	g := newGraph()
	w, err := md.begin()
	g.add(&w, 0, event{})
	end := 1 // of this distance
	for i := 0; i < len(g.worlds) && err == nil; i++ {
		if i == end {
			g.depth, end = g.depth+1, len(g.worlds)
		}
		here := g.worlds[i]
		if err = md.check(&here); err != nil {
			g.cut(i)
			break
		}
		if md.rests(&here) {
			g.rests++
		}
		md.events(&here, func(e event) {
			if err != nil {
				return
			}
			after := here
			if err = md.happen(&after, e); err != nil {
				g.cut(i)
			}
			g.next = append(g.next, g.add(&after, uint32(i), e))
		})
		g.ranges = append(g.ranges, uint32(len(g.next)))
	}
	if err == nil && !g.ends() {
		err = errors.New("a history can go in circles")
	}
	return g, err
}

// add returns the number of a state, which is a new one if it was not known.
func (g *graph) add(w *world, from uint32, via event) uint32 {
	if 2*len(g.worlds) >= len(g.table) {
		g.table = make([]uint32, 2*len(g.table))
		for i := range g.worlds {
			*g.place(&g.worlds[i]) = uint32(i) + 1
		}
	}
	p := g.place(w)
	if *p == 0 {
		g.worlds = append(g.worlds, *w)
		g.from, g.via = append(g.from, from), append(g.via, via)
		*p = uint32(len(g.worlds))
	}
	return *p - 1
}

// place returns where in the table a state stands, or would.
func (g *graph) place(w *world) *uint32 {
	mask := uint64(len(g.table) - 1)
	for h := maphash.Comparable(g.seed, *w) & mask; ; h = (h + 1) & mask {
		if p := &g.table[h]; *p == 0 || g.worlds[*p-1] == *w {
			return p
		}
	}
}

// cut forgets the states behind i.
func (g *graph) cut(i int) {
	g.worlds, g.from, g.via = g.worlds[:i+1], g.from[:i+1], g.via[:i+1]
	clear(g.table)
	for i := range g.worlds {
		*g.place(&g.worlds[i]) = uint32(i) + 1
	}
}

// history returns what happened on the shortest way to the last state.
func (g *graph) history() []event {
	var events []event
	for i := uint32(len(g.worlds) - 1); i != 0; i = g.from[i] {
		events = append(events, g.via[i])
	}
	slices.Reverse(events)
	return events
}

// ends reports whether no state can be reached from itself: taking away, again
// and again, the states that nothing leads to takes away all.
func (g *graph) ends() bool {
	leading := make([]uint32, len(g.worlds))
	for _, to := range g.next {
		leading[to]++
	}
	var free []uint32
	for i, n := range leading {
		if n == 0 {
			free = append(free, uint32(i))
		}
	}
	taken := 0
	for ; len(free) > 0; taken++ {
		i := free[len(free)-1]
		free = free[:len(free)-1]
		first := uint32(0)
		if i > 0 {
			first = g.ranges[i-1]
		}
		for _, to := range g.next[first:g.ranges[i]] {
			if leading[to]--; leading[to] == 0 {
				free = append(free, to)
			}
		}
	}
	return taken == len(g.worlds)
}
