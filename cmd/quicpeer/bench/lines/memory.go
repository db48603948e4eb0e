package lines

import "runtime"

// Memory returns the memory of this process that is in use, heap and stacks, in
// bytes, after what is not has been collected.
func Memory() uint64 {
	var m runtime.MemStats
	for range 3 { // the first may leave what finalizers and pools still hold; stacks shrink one step a time
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
