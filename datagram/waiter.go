package datagram

import "sync"

// A waiter is one blocked Push or Pop. It sits in a waitList, under the lock of its side, until someone settles it:
// puts its result in and takes it off the list. Whoever settled it wakes it after releasing the lock.
type waiter struct {
	next    *waiter
	settled bool
	item    item   // Push: what waits to be queued
	payload []byte // Pop: the result
	into    []byte // PopInto: where the result is copied to
	copies  bool   // it is a PopInto
	err     error
	ready   chan struct{} // capacity 1, one send for each settling: waking never blocks, and waiters can be reused
}

// waiterPool reuses the waiters of one Mux. It is not shared by the whole process, because channels must not be passed
// between the bubbles of testing/synctest.
type waiterPool struct {
	pool sync.Pool
}

func (p *waiterPool) get() *waiter {
	if w, ok := p.pool.Get().(*waiter); ok {
		return w
	}
	return &waiter{ready: make(chan struct{}, 1)}
}

// put gives w back. Its wake-up must have been received, or never be due.
func (p *waiterPool) put(w *waiter) {
	*w = waiter{ready: w.ready}
	p.pool.Put(w)
}

// A waitList is a first-in, first-out list of waiters. The zero value is empty.
type waitList struct {
	first, last *waiter
}

func (l *waitList) empty() bool { return l.first == nil }

func (l *waitList) push(w *waiter) {
	if l.first == nil {
		l.first = w
	} else {
		l.last.next = w
	}
	l.last = w
}

func (l *waitList) pop() *waiter {
	w := l.first
	l.first = w.next
	if l.first == nil {
		l.last = nil
	}
	w.next = nil
	return w
}

// remove takes out a waiter whose ctx has ended.
func (l *waitList) remove(w *waiter) {
	var before *waiter
	for p := l.first; p != w; p = p.next {
		before = p
	}
	if before == nil {
		l.first = w.next
	} else {
		before.next = w.next
	}
	if l.last == w {
		l.last = before
	}
	w.next = nil
}

// settle moves w, already off its list, to the list of those to wake.
func (l *waitList) settle(w *waiter, err error) {
	w.settled, w.err = true, err
	l.push(w)
}

// wake wakes all waiters of a list of settled ones. Call it without any lock.
func (l waitList) wake() {
	for w := l.first; w != nil; {
		next := w.next // w is its owner's again after the send
		w.ready <- struct{}{}
		w = next
	}
}
