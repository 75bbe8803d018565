package perf

import (
	"encoding/binary"
	"fmt"
	"io"
)

// frameReader holds what was read and not yet parsed: buf[pos:end].
type frameReader struct {
	buf      []byte
	pos, end int
}

// frame is one frame where it lies in the buffer, valid until the next read.
type frame struct {
	kind    byte
	payload []byte
}

// grow makes the buffer at least size bytes long.
func (r *frameReader) grow(size int) {
	if len(r.buf) < size {
		buf := make([]byte, size)
		r.end = copy(buf, r.buf[r.pos:r.end])
		r.pos = 0
		r.buf = buf
	}
}

// fill moves what is unparsed to the front and reads once.
func (r *frameReader) fill(from io.Reader) error {
	r.end = copy(r.buf, r.buf[r.pos:r.end])
	r.pos = 0
	if r.end == len(r.buf) {
		r.grow(2 * len(r.buf))
	}
	n, err := from.Read(r.buf[r.end:])
	r.end += n
	if n > 0 {
		return nil
	}
	return err
}

// next returns the next frame, reading as needed.
func (r *frameReader) next(from io.Reader, frameMax int) (frame, error) {
	for {
		f, ok, err := r.buffered(frameMax)
		if ok || err != nil {
			return f, err
		}
		if err := r.fill(from); err != nil {
			return frame{}, err
		}
	}
}

// buffered returns the next frame if it is complete.
func (r *frameReader) buffered(frameMax int) (f frame, ok bool, err error) {
	b := r.buf[r.pos:r.end]
	if len(b) < frameHead {
		return f, false, nil
	}
	size, err := frameSize(b, frameMax)
	if err != nil || len(b) < size+frameOverhead {
		return f, false, err
	}
	if b[frameHead+size] != frameEnd {
		return f, false, fmt.Errorf("frame of type %d ends with octet %#x", b[0], b[frameHead+size])
	}
	r.pos += size + frameOverhead
	return frame{b[0], b[frameHead : frameHead+size]}, true, nil
}

// frameSize returns the payload size of the frame that b begins with.
func frameSize(b []byte, frameMax int) (int, error) {
	switch b[0] {
	case frameMethod, frameHeader, frameBody, frameHeartbeat:
	case 'A':
		return 0, fmt.Errorf("broker answers with protocol header %q: it does not speak AMQP 0-9-1", b[:frameHead])
	default:
		return 0, fmt.Errorf("frame of unknown type %d", b[0])
	}
	size := int(binary.BigEndian.Uint32(b[3:]))
	if size > frameMax {
		return 0, fmt.Errorf("frame of %d bytes, agreed were %d", size, frameMax)
	}
	return size, nil
}
