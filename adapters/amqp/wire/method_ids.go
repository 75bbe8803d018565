package wire

// Classes.
const (
	ClassConnection uint16 = 10
	ClassChannel    uint16 = 20
	ClassAccess     uint16 = 30
	ClassExchange   uint16 = 40
	ClassQueue      uint16 = 50
	ClassBasic      uint16 = 60
	ClassConfirm    uint16 = 85
	ClassTx         uint16 = 90
)

// Method ids: the class in the upper, the method in the lower 16 bits.
const (
	IDConnectionStart          = uint32(ClassConnection)<<16 | 10
	IDConnectionStartOk        = uint32(ClassConnection)<<16 | 11
	IDConnectionSecure         = uint32(ClassConnection)<<16 | 20
	IDConnectionSecureOk       = uint32(ClassConnection)<<16 | 21
	IDConnectionTune           = uint32(ClassConnection)<<16 | 30
	IDConnectionTuneOk         = uint32(ClassConnection)<<16 | 31
	IDConnectionOpen           = uint32(ClassConnection)<<16 | 40
	IDConnectionOpenOk         = uint32(ClassConnection)<<16 | 41
	IDConnectionClose          = uint32(ClassConnection)<<16 | 50
	IDConnectionCloseOk        = uint32(ClassConnection)<<16 | 51
	IDConnectionBlocked        = uint32(ClassConnection)<<16 | 60
	IDConnectionUnblocked      = uint32(ClassConnection)<<16 | 61
	IDConnectionUpdateSecret   = uint32(ClassConnection)<<16 | 70
	IDConnectionUpdateSecretOk = uint32(ClassConnection)<<16 | 71

	IDChannelOpen    = uint32(ClassChannel)<<16 | 10
	IDChannelOpenOk  = uint32(ClassChannel)<<16 | 11
	IDChannelFlow    = uint32(ClassChannel)<<16 | 20
	IDChannelFlowOk  = uint32(ClassChannel)<<16 | 21
	IDChannelClose   = uint32(ClassChannel)<<16 | 40
	IDChannelCloseOk = uint32(ClassChannel)<<16 | 41

	IDAccessRequest   = uint32(ClassAccess)<<16 | 10
	IDAccessRequestOk = uint32(ClassAccess)<<16 | 11

	IDExchangeDeclare   = uint32(ClassExchange)<<16 | 10
	IDExchangeDeclareOk = uint32(ClassExchange)<<16 | 11
	IDExchangeDelete    = uint32(ClassExchange)<<16 | 20
	IDExchangeDeleteOk  = uint32(ClassExchange)<<16 | 21
	IDExchangeBind      = uint32(ClassExchange)<<16 | 30
	IDExchangeBindOk    = uint32(ClassExchange)<<16 | 31
	IDExchangeUnbind    = uint32(ClassExchange)<<16 | 40
	IDExchangeUnbindOk  = uint32(ClassExchange)<<16 | 51

	IDQueueDeclare   = uint32(ClassQueue)<<16 | 10
	IDQueueDeclareOk = uint32(ClassQueue)<<16 | 11
	IDQueueBind      = uint32(ClassQueue)<<16 | 20
	IDQueueBindOk    = uint32(ClassQueue)<<16 | 21
	IDQueuePurge     = uint32(ClassQueue)<<16 | 30
	IDQueuePurgeOk   = uint32(ClassQueue)<<16 | 31
	IDQueueDelete    = uint32(ClassQueue)<<16 | 40
	IDQueueDeleteOk  = uint32(ClassQueue)<<16 | 41
	IDQueueUnbind    = uint32(ClassQueue)<<16 | 50
	IDQueueUnbindOk  = uint32(ClassQueue)<<16 | 51

	IDBasicQos          = uint32(ClassBasic)<<16 | 10
	IDBasicQosOk        = uint32(ClassBasic)<<16 | 11
	IDBasicConsume      = uint32(ClassBasic)<<16 | 20
	IDBasicConsumeOk    = uint32(ClassBasic)<<16 | 21
	IDBasicCancel       = uint32(ClassBasic)<<16 | 30
	IDBasicCancelOk     = uint32(ClassBasic)<<16 | 31
	IDBasicPublish      = uint32(ClassBasic)<<16 | 40
	IDBasicReturn       = uint32(ClassBasic)<<16 | 50
	IDBasicDeliver      = uint32(ClassBasic)<<16 | 60
	IDBasicGet          = uint32(ClassBasic)<<16 | 70
	IDBasicGetOk        = uint32(ClassBasic)<<16 | 71
	IDBasicGetEmpty     = uint32(ClassBasic)<<16 | 72
	IDBasicAck          = uint32(ClassBasic)<<16 | 80
	IDBasicReject       = uint32(ClassBasic)<<16 | 90
	IDBasicRecoverAsync = uint32(ClassBasic)<<16 | 100
	IDBasicRecover      = uint32(ClassBasic)<<16 | 110
	IDBasicRecoverOk    = uint32(ClassBasic)<<16 | 111
	IDBasicNack         = uint32(ClassBasic)<<16 | 120

	IDConfirmSelect   = uint32(ClassConfirm)<<16 | 10
	IDConfirmSelectOk = uint32(ClassConfirm)<<16 | 11

	IDTxSelect     = uint32(ClassTx)<<16 | 10
	IDTxSelectOk   = uint32(ClassTx)<<16 | 11
	IDTxCommit     = uint32(ClassTx)<<16 | 20
	IDTxCommitOk   = uint32(ClassTx)<<16 | 21
	IDTxRollback   = uint32(ClassTx)<<16 | 30
	IDTxRollbackOk = uint32(ClassTx)<<16 | 31
)

// methods is the list of all there are, with their names.
var methods = map[uint32]struct {
	name string
	new  func() Method
}{
	IDConnectionStart:          {"connection.start", func() Method { return new(ConnectionStart) }},
	IDConnectionStartOk:        {"connection.start-ok", func() Method { return new(ConnectionStartOk) }},
	IDConnectionSecure:         {"connection.secure", func() Method { return new(ConnectionSecure) }},
	IDConnectionSecureOk:       {"connection.secure-ok", func() Method { return new(ConnectionSecureOk) }},
	IDConnectionTune:           {"connection.tune", func() Method { return new(ConnectionTune) }},
	IDConnectionTuneOk:         {"connection.tune-ok", func() Method { return new(ConnectionTuneOk) }},
	IDConnectionOpen:           {"connection.open", func() Method { return new(ConnectionOpen) }},
	IDConnectionOpenOk:         {"connection.open-ok", func() Method { return new(ConnectionOpenOk) }},
	IDConnectionClose:          {"connection.close", func() Method { return new(ConnectionClose) }},
	IDConnectionCloseOk:        {"connection.close-ok", func() Method { return new(ConnectionCloseOk) }},
	IDConnectionBlocked:        {"connection.blocked", func() Method { return new(ConnectionBlocked) }},
	IDConnectionUnblocked:      {"connection.unblocked", func() Method { return new(ConnectionUnblocked) }},
	IDConnectionUpdateSecret:   {"connection.update-secret", func() Method { return new(ConnectionUpdateSecret) }},
	IDConnectionUpdateSecretOk: {"connection.update-secret-ok", func() Method { return new(ConnectionUpdateSecretOk) }},

	IDChannelOpen:    {"channel.open", func() Method { return new(ChannelOpen) }},
	IDChannelOpenOk:  {"channel.open-ok", func() Method { return new(ChannelOpenOk) }},
	IDChannelFlow:    {"channel.flow", func() Method { return new(ChannelFlow) }},
	IDChannelFlowOk:  {"channel.flow-ok", func() Method { return new(ChannelFlowOk) }},
	IDChannelClose:   {"channel.close", func() Method { return new(ChannelClose) }},
	IDChannelCloseOk: {"channel.close-ok", func() Method { return new(ChannelCloseOk) }},

	IDAccessRequest:   {"access.request", func() Method { return new(AccessRequest) }},
	IDAccessRequestOk: {"access.request-ok", func() Method { return new(AccessRequestOk) }},

	IDExchangeDeclare:   {"exchange.declare", func() Method { return new(ExchangeDeclare) }},
	IDExchangeDeclareOk: {"exchange.declare-ok", func() Method { return new(ExchangeDeclareOk) }},
	IDExchangeDelete:    {"exchange.delete", func() Method { return new(ExchangeDelete) }},
	IDExchangeDeleteOk:  {"exchange.delete-ok", func() Method { return new(ExchangeDeleteOk) }},
	IDExchangeBind:      {"exchange.bind", func() Method { return new(ExchangeBind) }},
	IDExchangeBindOk:    {"exchange.bind-ok", func() Method { return new(ExchangeBindOk) }},
	IDExchangeUnbind:    {"exchange.unbind", func() Method { return new(ExchangeUnbind) }},
	IDExchangeUnbindOk:  {"exchange.unbind-ok", func() Method { return new(ExchangeUnbindOk) }},

	IDQueueDeclare:   {"queue.declare", func() Method { return new(QueueDeclare) }},
	IDQueueDeclareOk: {"queue.declare-ok", func() Method { return new(QueueDeclareOk) }},
	IDQueueBind:      {"queue.bind", func() Method { return new(QueueBind) }},
	IDQueueBindOk:    {"queue.bind-ok", func() Method { return new(QueueBindOk) }},
	IDQueuePurge:     {"queue.purge", func() Method { return new(QueuePurge) }},
	IDQueuePurgeOk:   {"queue.purge-ok", func() Method { return new(QueuePurgeOk) }},
	IDQueueDelete:    {"queue.delete", func() Method { return new(QueueDelete) }},
	IDQueueDeleteOk:  {"queue.delete-ok", func() Method { return new(QueueDeleteOk) }},
	IDQueueUnbind:    {"queue.unbind", func() Method { return new(QueueUnbind) }},
	IDQueueUnbindOk:  {"queue.unbind-ok", func() Method { return new(QueueUnbindOk) }},

	IDBasicQos:          {"basic.qos", func() Method { return new(BasicQos) }},
	IDBasicQosOk:        {"basic.qos-ok", func() Method { return new(BasicQosOk) }},
	IDBasicConsume:      {"basic.consume", func() Method { return new(BasicConsume) }},
	IDBasicConsumeOk:    {"basic.consume-ok", func() Method { return new(BasicConsumeOk) }},
	IDBasicCancel:       {"basic.cancel", func() Method { return new(BasicCancel) }},
	IDBasicCancelOk:     {"basic.cancel-ok", func() Method { return new(BasicCancelOk) }},
	IDBasicPublish:      {"basic.publish", func() Method { return new(BasicPublish) }},
	IDBasicReturn:       {"basic.return", func() Method { return new(BasicReturn) }},
	IDBasicDeliver:      {"basic.deliver", func() Method { return new(BasicDeliver) }},
	IDBasicGet:          {"basic.get", func() Method { return new(BasicGet) }},
	IDBasicGetOk:        {"basic.get-ok", func() Method { return new(BasicGetOk) }},
	IDBasicGetEmpty:     {"basic.get-empty", func() Method { return new(BasicGetEmpty) }},
	IDBasicAck:          {"basic.ack", func() Method { return new(BasicAck) }},
	IDBasicReject:       {"basic.reject", func() Method { return new(BasicReject) }},
	IDBasicRecoverAsync: {"basic.recover-async", func() Method { return new(BasicRecoverAsync) }},
	IDBasicRecover:      {"basic.recover", func() Method { return new(BasicRecover) }},
	IDBasicRecoverOk:    {"basic.recover-ok", func() Method { return new(BasicRecoverOk) }},
	IDBasicNack:         {"basic.nack", func() Method { return new(BasicNack) }},

	IDConfirmSelect:   {"confirm.select", func() Method { return new(ConfirmSelect) }},
	IDConfirmSelectOk: {"confirm.select-ok", func() Method { return new(ConfirmSelectOk) }},

	IDTxSelect:     {"tx.select", func() Method { return new(TxSelect) }},
	IDTxSelectOk:   {"tx.select-ok", func() Method { return new(TxSelectOk) }},
	IDTxCommit:     {"tx.commit", func() Method { return new(TxCommit) }},
	IDTxCommitOk:   {"tx.commit-ok", func() Method { return new(TxCommitOk) }},
	IDTxRollback:   {"tx.rollback", func() Method { return new(TxRollback) }},
	IDTxRollbackOk: {"tx.rollback-ok", func() Method { return new(TxRollbackOk) }},
}
