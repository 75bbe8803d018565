package core

import (
	"cmp"
	"slices"
	"sync"
)

// streamCache is the part of a stream that is in memory: what was committed
// last, and what was read from the files lately, in blocks by their first
// offsets. Readers share them; a block that is let go of lives on for those that
// still read it. The stream's lock guards it.
type streamCache struct {
	blocks   []*cachedBlock // Ascending by First. They may overlap.
	bytes    int64
	messages int
	clock    uint64 // Counts uses.
	loads    map[uint64]*streamLoad
}

// streamLoad is a block being read, for all who want it.
type streamLoad struct {
	once  sync.Once
	block *StreamBlock
	next  uint64
	err   error
}

// loading returns the load of the block at offset that is under way, or a new
// one.
func (c *streamCache) loading(offset uint64) *streamLoad {
	l := c.loads[offset]
	if l == nil {
		l = new(streamLoad)
		if c.loads == nil {
			c.loads = make(map[uint64]*streamLoad)
		}
		c.loads[offset] = l
	}
	return l
}

type cachedBlock struct {
	*StreamBlock
	used uint64
}

// streamBlockBytes is about how large blocks of the tail are.
const streamBlockBytes = 256 << 10

// add keeps messages that were just committed.
func (c *streamCache) add(ms []StreamMessage, limit int64) {
	for len(ms) > 0 {
		n, bytes := 0, int64(0)
		for n < len(ms) && bytes < streamBlockBytes {
			bytes += streamMessageBytes(ms[n].Message)
			n++
		}
		c.put(NewStreamBlock(ms[0].Offset, ms[:n:n]), limit)
		ms = ms[n:]
	}
}

// put keeps b, and lets go of what was not used for longest while there is
// more than limit.
func (c *streamCache) put(b *StreamBlock, limit int64) {
	c.clock++
	at, found := c.search(b.First)
	if found { // The last block of a file has grown.
		c.drop(at)
	}
	c.blocks = slices.Insert(c.blocks, at, &cachedBlock{b, c.clock})
	c.bytes += b.Bytes
	c.messages += len(b.Messages)
	c.trim(limit)
}

func (c *streamCache) search(first uint64) (int, bool) {
	return slices.BinarySearchFunc(c.blocks, first, func(b *cachedBlock, o uint64) int { return cmp.Compare(b.First, o) })
}

// find returns the block with offset, or nil.
func (c *streamCache) find(offset uint64) *StreamBlock {
	i, found := c.search(offset)
	if !found {
		i--
	}
	if i < 0 || offset >= c.blocks[i].Next {
		return nil
	}
	c.clock++
	c.blocks[i].used = c.clock
	return c.blocks[i].StreamBlock
}

// trim lets go of blocks until no more than limit is left, or one.
func (c *streamCache) trim(limit int64) {
	for c.bytes > limit && len(c.blocks) > 1 {
		oldest := 0
		for i := range c.blocks {
			if c.blocks[i].used < c.blocks[oldest].used {
				oldest = i
			}
		}
		c.drop(oldest)
	}
}

func (c *streamCache) drop(i int) {
	c.bytes -= c.blocks[i].Bytes
	c.messages -= len(c.blocks[i].Messages)
	c.blocks = slices.Delete(c.blocks, i, i+1)
}

// dropBelow lets go of what is not in the stream any more.
func (c *streamCache) dropBelow(first uint64) {
	for len(c.blocks) > 0 && c.blocks[0].Next <= first {
		c.drop(0)
	}
}

func (c *streamCache) clear() { *c = streamCache{} }

// cacheBytesLocked is how much the cache may take: a queue's share of memory
// while somebody reads, little otherwise.
func (q *stream) cacheBytesLocked() int64 {
	switch {
	case q.broker.memory.pressed(), len(q.mu.readers) == 0:
		return min(q.broker.queueMemory, shareWhenPressed)
	}
	return q.broker.queueMemory
}
