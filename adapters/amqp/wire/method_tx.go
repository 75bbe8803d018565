package wire

// ConfirmSelect (85.10) asks for publisher confirms on the channel, from
// client to server.
type ConfirmSelect struct {
	NoWait bool
}

// ID implements Method.
func (*ConfirmSelect) ID() uint32 { return IDConfirmSelect }

// Append implements Method.
func (m *ConfirmSelect) Append(dst []byte) []byte {
	dst = appendID(dst, IDConfirmSelect)
	return append(dst, bit(m.NoWait, 0))
}

func (m *ConfirmSelect) decode(d *decoder) { m.NoWait = isSet(d.octet(), 0) }

// ConfirmSelectOk (85.11) answers ConfirmSelect, from server to client.
type ConfirmSelectOk struct{}

// ID implements Method.
func (*ConfirmSelectOk) ID() uint32 { return IDConfirmSelectOk }

// Append implements Method.
func (*ConfirmSelectOk) Append(dst []byte) []byte { return appendID(dst, IDConfirmSelectOk) }

func (*ConfirmSelectOk) decode(*decoder) {}

// TxSelect (90.10) makes the channel transactional, from client to server.
type TxSelect struct{}

// ID implements Method.
func (*TxSelect) ID() uint32 { return IDTxSelect }

// Append implements Method.
func (*TxSelect) Append(dst []byte) []byte { return appendID(dst, IDTxSelect) }

func (*TxSelect) decode(*decoder) {}

// TxSelectOk (90.11) answers TxSelect, from server to client.
type TxSelectOk struct{}

// ID implements Method.
func (*TxSelectOk) ID() uint32 { return IDTxSelectOk }

// Append implements Method.
func (*TxSelectOk) Append(dst []byte) []byte { return appendID(dst, IDTxSelectOk) }

func (*TxSelectOk) decode(*decoder) {}

// TxCommit (90.20) carries out what was published and acked since the last
// one, from client to server.
type TxCommit struct{}

// ID implements Method.
func (*TxCommit) ID() uint32 { return IDTxCommit }

// Append implements Method.
func (*TxCommit) Append(dst []byte) []byte { return appendID(dst, IDTxCommit) }

func (*TxCommit) decode(*decoder) {}

// TxCommitOk (90.21) answers TxCommit, from server to client.
type TxCommitOk struct{}

// ID implements Method.
func (*TxCommitOk) ID() uint32 { return IDTxCommitOk }

// Append implements Method.
func (*TxCommitOk) Append(dst []byte) []byte { return appendID(dst, IDTxCommitOk) }

func (*TxCommitOk) decode(*decoder) {}

// TxRollback (90.30) forgets what was published and acked since the last
// commit, from client to server.
type TxRollback struct{}

// ID implements Method.
func (*TxRollback) ID() uint32 { return IDTxRollback }

// Append implements Method.
func (*TxRollback) Append(dst []byte) []byte { return appendID(dst, IDTxRollback) }

func (*TxRollback) decode(*decoder) {}

// TxRollbackOk (90.31) answers TxRollback, from server to client.
type TxRollbackOk struct{}

// ID implements Method.
func (*TxRollbackOk) ID() uint32 { return IDTxRollbackOk }

// Append implements Method.
func (*TxRollbackOk) Append(dst []byte) []byte { return appendID(dst, IDTxRollbackOk) }

func (*TxRollbackOk) decode(*decoder) {}
