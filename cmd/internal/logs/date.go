package logs

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// Date is when files are turned over, as RabbitMQ writes it: $D0 each day at
// midnight, $D23 at 23:00, $W0D23 each Sunday at 23:00, $M1D0 on the first of
// each month. The zero Date is never.
type Date struct {
	every byte // 0, 'D', 'W' or 'M'.
	hour  int
	day   int // Of the week or month.
}

var dateForm = regexp.MustCompile(`^\$(?:W([0-6])|M([1-9]|[12][0-9]|3[01]))?(?:D([0-9]|1[0-9]|2[0-3]))?$`)

// UnmarshalText reads a Date; nothing is never.
func (d *Date) UnmarshalText(text []byte) error {
	*d = Date{}
	if len(text) == 0 {
		return nil
	}
	m := dateForm.FindStringSubmatch(string(text))
	if m == nil || m[0] == "$" {
		return fmt.Errorf("%q is not a time to turn a file over; write for example $D0 for midnight, $W0D23 for Sundays at 23, $M1D0 for the first of the month", text)
	}
	d.hour, _ = strconv.Atoi(m[3])
	switch {
	case m[1] != "":
		d.every = 'W'
		d.day, _ = strconv.Atoi(m[1])
	case m[2] != "":
		d.every = 'M'
		d.day, _ = strconv.Atoi(m[2])
	default:
		d.every = 'D'
	}
	return nil
}

// String writes d as UnmarshalText reads it.
func (d Date) String() string {
	switch d.every {
	case 'D':
		return fmt.Sprintf("$D%d", d.hour)
	case 'W', 'M':
		return fmt.Sprintf("$%c%dD%d", d.every, d.day, d.hour)
	}
	return ""
}

// after is the first such time after t, zero for never.
func (d Date) after(t time.Time) time.Time {
	if d.every == 0 {
		return time.Time{}
	}
	for i := range 400 {
		at := time.Date(t.Year(), t.Month(), t.Day()+i, d.hour, 0, 0, 0, t.Location())
		fits := d.every == 'D' || d.every == 'W' && int(at.Weekday()) == d.day || d.every == 'M' && at.Day() == d.day
		if fits && at.After(t) {
			return at
		}
	}
	return time.Time{}
}
