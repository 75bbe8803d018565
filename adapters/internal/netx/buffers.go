package netx

import (
	"sync"
	"unsafe"
)

// Buffers come in five classes, each four times the one before: 4 KiB, 16 KiB,
// 64 KiB, 256 KiB, 1 MiB. What is larger comes from the heap and goes back to
// it, so one huge message does not leave its buffer behind.
const (
	bufSizeMin = 4 << 10
	bufSizeMax = 1 << 20

	size4K   = 4 << 10
	size16K  = 16 << 10
	size64K  = 64 << 10
	size256K = 256 << 10
)

// bufPools hold pointers to the first byte, which fit an interface without an
// allocation.
var bufPools [5]sync.Pool

// bufClass is the smallest class that holds n bytes, or len(bufPools).
func bufClass(n int) (class, size int) {
	size = bufSizeMin
	for class < len(bufPools) && size < n {
		class++
		size <<= 2
	}
	return class, size
}

// getBuf returns a buffer of at least n bytes, all of it usable, with
// arbitrary content.
func getBuf(n int) []byte {
	class, size := bufClass(n)
	if class == len(bufPools) {
		return make([]byte, (n+bufSizeMin-1)&^(bufSizeMin-1))
	}
	if p, ok := bufPools[class].Get().(*byte); ok {
		return unsafe.Slice(p, size)
	}
	return make([]byte, size)
}

// putBuf takes back a buffer nobody uses any more. It need not be one of
// getBuf's: append may have moved it to an array of another size, which then
// serves as the next smaller class.
func putBuf(b []byte) {
	n := cap(b)
	if n < bufSizeMin || n > 2*bufSizeMax {
		return
	}
	if poison {
		spoil(b[:n])
	}
	class, size := bufClass(n)
	if class == len(bufPools) || size > n {
		class--
	}
	bufPools[class].Put(unsafe.SliceData(b[:1]))
}

// spoil overwrites a buffer that was given back, so that under the race
// detector whoever still looks at it is caught.
func spoil(b []byte) {
	for len(b) > 0 {
		b = b[copy(b, poisonPage[:]):]
	}
}

var poisonPage = func() (p [bufSizeMin]byte) {
	for i := range p {
		p[i] = 0xDB
	}
	return p
}()
