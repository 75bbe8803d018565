package core

// SetDiskForTest acts like a log that takes no publishes.
func (b *Broker) SetDiskForTest(err error) { b.alarms.setLog(err) }
