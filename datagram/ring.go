package datagram

// keepSlots is how many slots a ring keeps once it is empty: enough for a trickle to need no allocation, little enough
// for an idle flow.
const keepSlots = 8

// A ring is a double-ended queue that grows on demand. The zero value is empty. It bounds nothing: its user does.
type ring[T any] struct {
	slots []T // the length is a power of two, or 0
	head  int
	n     int
}

func (r *ring[T]) len() int { return r.n }

// at returns the i-th element from the front.
func (r *ring[T]) at(i int) *T { return &r.slots[(r.head+i)&(len(r.slots)-1)] }

func (r *ring[T]) grow() {
	if r.n < len(r.slots) {
		return
	}
	slots := make([]T, max(4, 2*len(r.slots)))
	for i := range r.n {
		slots[i] = *r.at(i)
	}
	r.slots, r.head = slots, 0
}

func (r *ring[T]) pushBack(v T) {
	r.grow()
	r.n++
	*r.at(r.n - 1) = v
}

func (r *ring[T]) pushFront(v T) {
	r.grow()
	r.head = (r.head - 1) & (len(r.slots) - 1)
	r.n++
	*r.at(0) = v
}

func (r *ring[T]) popFront() T {
	p := r.at(0)
	v := *p
	var zero T
	*p = zero // release what it refers to
	r.head = (r.head + 1) & (len(r.slots) - 1)
	r.n--
	return v
}

// filter keeps the elements for which keep returns true, in order.
func (r *ring[T]) filter(keep func(*T) bool) {
	kept := 0
	for i := range r.n {
		if p := r.at(i); keep(p) {
			*r.at(kept) = *p
			kept++
		}
	}
	var zero T
	for i := kept; i < r.n; i++ {
		*r.at(i) = zero
	}
	r.n = kept
}

// large reports whether the ring holds more memory than an idle flow should.
func (r *ring[T]) large() bool { return len(r.slots) > keepSlots }

// trim gives the memory of a large, empty ring back.
func (r *ring[T]) trim() {
	if r.n == 0 && r.large() {
		*r = ring[T]{}
	}
}
