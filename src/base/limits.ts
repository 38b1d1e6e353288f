import { dayMs, GiB, KiB, MiB, minuteMs, secondMs } from './units.js';

/**
 * Every limit on the path of a message, and every limit for requests. If a limit is a setting, its comment says
 * so, and the number is the default.
 */
export const limits = {
  // --- What a request may ask -----------------------------------------------------------------------------
  /** Names of topics, subscriptions and producers, in characters. */
  maxNameLength: 200,
  /** Earlier versions gave dead-letter topics the names of a topic and a subscription, and a suffix. */
  longestTopicNameLength: 413,
  maxConsumerIdLength: 200,
  /** One encoded message. Setting. */
  maxMessageBytes: 1 * MiB,
  /** One request, encoded. Setting. */
  maxRequestBytes: 4 * MiB,
  maxKeyBytes: 1 * KiB,
  maxMessagesPerRequest: 100_000,
  maxSettlementsPerRequest: 10_000,
  maxReasonLength: 1_000,
  /** Limit of dead-letter notes, in each partition, that a repeated settlement is compared with. */
  deadLetterNotesPerSettlement: 10_000,
  /**
   * The partitions that a topic may have: column families of the store. Setting; fixed when the store is created.
   */
  maxPartitionCount: 16,
  maxTopics: 100_000,
  maxPageSize: 1_000,
  defaultPageSize: 100,
  minAckDeadlineMs: 100,
  maxAckDeadlineMs: 12 * 60 * minuteMs,
  maxBackoffMs: 1 * dayMs,
  maxAttempts: 10_000,
  /** Offsets, sequences and counts are IEEE doubles: exact up to this number. */
  maxOffset: Number.MAX_SAFE_INTEGER,

  // --- Defaults of subscriptions --------------------------------------------------------------------------
  defaultAckDeadlineMs: 30 * secondMs,
  defaultMinBackoffMs: 100,
  defaultMaxBackoffMs: 60 * secondMs,
  defaultMaxAttempts: 10,
  defaultOutstandingMessages: 1_000,
  defaultOutstandingBytes: 16 * MiB,

  // --- Sessions -------------------------------------------------------------------------------------------
  /**
   * How long a session stays silent after a lapsed lease if its consumer sends nothing: so many lease times, but
   * at least the minimum. The time doubles with each further lapse, up to the maximum.
   */
  silenceLeaseTimes: 10,
  minSilenceMs: 1 * minuteMs,
  maxSilenceMs: 60 * minuteMs,
  /** The shortest time after which other sessions get what the transport of a session has not taken. */
  minTransitMs: 10 * secondMs,
  /**
   * The number of suspects in a partition: messages that were at work in two broken streams, and are delivered
   * alone.
   */
  suspectsPerPartition: 256,

  // --- All of it ------------------------------------------------------------------------------------------
  /** Memory for everything in flight. Setting. */
  maxInFlightBytes: 1 * GiB,

  // --- From a producer to the disk ------------------------------------------------------------------------
  /** Receive window of one HTTP/2 stream, and of one connection. Settings. */
  streamWindowBytes: 1 * MiB,
  connectionWindowBytes: 16 * MiB,
  /** The initial receive window of every stream. */
  initialWindowBytes: 64 * KiB,
  /** Bytes that wait for the writer or are being written. Above this, producers' streams are not read. Setting. */
  writerQueueBytes: 16 * MiB,
  /** One commit. More bytes wait for the next one. */
  roundBytes: 4 * MiB,
  /** How long an admitted producer keeps its room if its request does not arrive. */
  admissionMs: 50,
  /** How often the level of the topics is computed while a full queue of requests arrives. */
  levelsPerQueue: 64,
  /** The part of what a topic had less than the others that a round makes up for, and its maximum, in shares. */
  owedPerRound: 1 / 8,
  mostOwedShare: 1 / 4,
  /** Connections whose last topic is remembered, so that their next stream waits in its line. */
  rememberedPeers: 16_384,
  /** The assumed size of the first request of a topic, when room is kept for it. */
  usualRequestBytes: 64 * KiB,
  /** Commits in the writer thread: one syncs, one is ready. */
  roundsUnderWay: 2,
  /** Memory of commits that the tail has dropped, kept for the next ones. */
  spareRoundBytes: 16 * MiB,
  /** While a commit is under way, a second one is started only if this much waits. Small ones gather. */
  secondRoundBytes: 256 * KiB,
  /** The size of a log record. A larger message has a record of its own. */
  recordBytes: 256 * KiB,
  /** Batches of one PublishStream that wait for their receipt. */
  batchesPerStream: 1_000,
  /** Receipts of one stream that are sent with one write. */
  answerBatchBytes: 16 * KiB,

  // --- From the disk to a consumer ------------------------------------------------------------------------
  /** Committed records kept in memory for consumers that keep up. Setting. */
  tailBytes: 64 * MiB,
  /** How much a log reader reads from the disk at once, and keeps for its next read. */
  readAheadBytes: 256 * KiB,
  smallestReadAheadBytes: 16 * KiB,
  /** Records that are read at once if they are so small that the bytes above are not reached. */
  readAheadRecords: 1_000,
  /**
   * How long a scan of the log stays open, apart from a read under way. Then its reader opens another one where
   * reading continues. An open scan keeps every memtable of its time: at full speed 100 MB for each second.
   */
  scanOpenMs: 200,
  /** A log reader that is not used for this long gives up what it holds. */
  readerIdleMs: 1 * secondMs,
  /** The size of a frame, and the minimum that it may shrink to. A larger message has a frame of its own. */
  frameBytes: 256 * KiB,
  smallestFrameBytes: 16 * KiB,
  /** A frame while frames take all of their memory. */
  leastFrameBytes: 4 * KiB,
  /** Frames under way to one stream. */
  framesUnderWay: 2,
  /** Memory of frames that have left, kept for the next ones. */
  spareFrameBytes: 8 * MiB,
  /** Log reads that run at once, over all consumers. Setting. */
  concurrentReads: 8,
  /**
   * Messages of one partition and subscription that wait for their key while later messages pass them (ordering
   * KEY).
   */
  deferredMessages: 10_000,
  /** Open streams, over all connections. Setting. */
  maxStreams: 20_000,
  /** Open calls that are not streams, over all connections, and on one of them. The first is a setting. */
  maxCalls: 10_000,
  callsPerConnection: 5_000,
  /** Calls that a connection may always have, even if other connections have used up the limit. */
  freeCalls: 10,
  /** Streams that one address may open in a second, and the burst, in seconds. Setting. */
  maxOpensPerSecond: 1_000,
  opensBurstSeconds: 10,
  /** Streams that a connection may always open in a second, even if its address exceeds the limit. */
  freeOpensPerSecond: 10,
  /** Calls of one address that are reset before they begin. Above this rate, each such connection is closed. */
  brokenOpensPerSecond: 20,
  brokenOpensBurst: 200,
  /** Refused calls of one connection in a second. Above this rate, it is closed. */
  refusalsPerSecond: 1_000,
  /** Open connections from one address. Setting. */
  maxConnectionsPerPeer: 2_000,
  /** Surplus connections that stay open for a moment to get the reason for their refusal, and that moment. */
  surplusConnections: 64,
  surplusConnectionMs: 1 * secondMs,
  /** How long the counts of an address are kept after its last connection. */
  forgetHostMs: 60 * secondMs,
  /** How long the one request of a call may take to arrive. */
  requestTimeoutMs: 10 * secondMs,
  /** How long the client of an answered stream may leave its half open. */
  halfOpenMs: 10 * secondMs,
  /** Above this number of such streams, the oldest are closed earlier, but not before this time. */
  halfOpenStreams: 1_000,
  leastHalfOpenMs: 1 * secondMs,
  /** Answers of unary calls that one connection has not read: above this, its calls wait. */
  answerBytesPerConnection: 1 * MiB,
  /** Answers that one connection gets in a turn of the event loop. */
  answersPerTurn: 8,
  /** The part of the free memory for answers of streams that one stream may use. */
  streamAnswersShare: 1 / 4,
  /** Memory of an answer of a stream beside its bytes, in the broker, in grpc-js and in Node. */
  answerOverheadBytes: 768,
  /** Memory of a range of the answer to a Publish, until the call ends. */
  rangeOverheadBytes: 128,
  /** Assignments under way to one consumer. Above this, it gets only the latest one. */
  assignmentsUnderWay: 8,
  /** When unread answers fill their memory, connections that have read none for this long are closed. */
  answerTimeoutMs: 30 * secondMs,
  /** The one request of a lookup, or of a call that opens a stream: names, a page token, a position. */
  smallRequestBytes: 8 * KiB,
  /** The configuration of a topic or a subscription, possibly sent back with the statistics of every partition. */
  configRequestBytes: 64 * KiB,
  /** Bytes of requests in memory for the calls of one connection. A single request may be larger. */
  requestBytesPerConnection: 8 * MiB,
  /** Bytes that a connection may always hold, even if other connections have used up the limit. */
  freeRequestBytes: 64 * KiB,
  /** Memory for decompressing a request, beside the request. */
  decompressionBytes: 64 * KiB,
  /** Headers of one call, names and values, as HTTP/2 counts them (RFC 9113, 6.5.2). */
  headerListBytes: 8 * KiB,

  /** Messages that one commit moves to a dead-letter topic. */
  deadLetterBatchMessages: 500,

  // --- From the dead letters back to their subscription -----------------------------------------------------
  /** Messages of one commit of a redrive. */
  redriveBatchMessages: 1_000,
  /** The burst of a redrive with a rate: what the rate allows in this time. */
  redriveBurstMs: 100,
  /** How often a redrive reports its progress: twice as often as promised. */
  redriveProgressEveryMs: 500,

  // --- At the network's edge --------------------------------------------------------------------------------
  /**
   * How far above `maxRequestBytes` a request is still read, so that its refusal can name the batch. Larger
   * requests are refused by their length, before they are read.
   */
  oversizeReadBytes: 1 * MiB,
  /** Settlement requests of one Consume stream without an answer. Above this, the stream is not read. */
  settlementRequestsPerStream: 100,
  /** Ranges of one PublishResponse. A stream with more ranges is answered without them. */
  maxRangesPerResponse: 10_000,
  /** The same for a PublishFailure, which is sent in a header. */
  maxRangesPerFailure: 100,
  /** How soon after a consumer closed its half of the stream a reset still counts as a broken stream. */
  resetGraceMs: 50,
  maxPageTokenLength: 1_000,
  /** Characters of an error text: it is sent in headers, and clients limit those to 8 KiB. */
  maxErrorTextLength: 500,
  /** How often an idle connection is pinged, and how long the answer may take. */
  keepaliveEveryMs: 30 * secondMs,
  keepaliveTimeoutMs: 10 * secondMs,
  /** How long closing waits for calls under way before it ends them. */
  drainGraceMs: 10 * secondMs,
  /** Next: how long the last answers may take to leave, to clients that may not be reading. */
  lingerMs: 1 * secondMs,
  /** Next: how long destroyed connections may take to close before closing continues without them. */
  cutOffMs: 1 * secondMs,
  /** How long the store may take to finish writing and to close before the process ends anyway. */
  closeStoreMs: 15 * secondMs,
  /** Connections of the HTTP server of the metrics, and how long one may stay without reading or sending. */
  adminConnections: 32,
  adminIdleMs: 30 * secondMs,
  /** How long the HTTP server of the metrics may take to close. */
  closeAdminMs: 1 * secondMs,

  // --- Metadata -------------------------------------------------------------------------------------------
  /** Producers whose sequence is kept in memory. Others are read from the store again when they return. */
  cachedProducers: 100_000,
  /** How often the synced offsets are noted. */
  syncedOffsetsEveryMs: 2 * secondMs,
  /** How far the wall clock may be set back while publish times stand still. Beyond this, they follow it. */
  clockHoldMs: 60 * secondMs,
  /**
   * Places in a partition where publish times go back that are remembered, so that a search by time stays exact.
   */
  clockStepsKept: 16,
  heartbeatEveryMs: 15 * secondMs,
  /** Heartbeats that are sent at once, and the pause after them. */
  heartbeatsAtOnce: 250,
  heartbeatPauseMs: 10,
  /** Subscriptions whose cursors are read at once when the broker starts. */
  cursorReadsAtOnce: 64,
  /** Free space on the data disk below which producers are held. Setting. */
  minFreeDiskBytes: 256 * MiB,
  freeDiskCheckEveryMs: 1 * secondMs,
  /** The time between two checks while producers are held only because of bytes on the way to the disk. */
  freeDiskRecheckMs: 20,
  /** RocksDB fills one memtable for each partition number. A few more may be full and not written yet. */
  memtableBytes: 4 * MiB,
  fullMemtables: 4,
  /** How many bytes a submitted byte takes on the disk before compaction: one in the log, one in a table. */
  diskBytesPerByte: 2,
  /** Pause between two sweeps of retention: how long a removable message may stay. */
  retentionEveryMs: 1 * secondMs,
  /** How soon a full backlog is measured again after a settlement. */
  backlogMeasureDelayMs: 2,
  /** The retry delay of BACKLOG_FULL and DISK_NEARLY_FULL. */
  backlogRetryAfterMs: 1 * secondMs,
  diskRetryAfterMs: 5 * secondMs,

  /** Log lines that wait for their reader. Further lines are dropped. */
  logQueueBytes: 4 * MiB,
  /** After a failed write: how long the refusals may take to leave before the process ends. */
  failureGraceMs: 250,

  // --- How far settings may go ----------------------------------------------------------------------------
  /** Every partition is a column family with its own memtables. */
  largestMaxPartitionCount: 256,
  /** A request is held in memory as a whole, several times while it is written. */
  largestMaxRequestBytes: 256 * MiB,
  /** RFC 9113: windows have 31 bits. Below the minimum not even one frame would fit. */
  smallestWindowBytes: 64 * KiB,
  largestWindowBytes: 2 ** 31 - 1,
  largestConcurrentReads: 1_024,

  // --- The command line -----------------------------------------------------------------------------------
  /** Batches of `sluice publish` without a receipt. Below `batchesPerStream`, so never refused. */
  cliBatchesInFlight: 64,
  cliBatchMessages: 1_000,
  cliBatchBytes: 256 * KiB,
  /** How much one read of a file or of stdin returns. */
  cliInputChunkBytes: 1 * MiB,
  cliCallTimeoutMs: 30 * secondMs,
  /** How long an interrupted `sluice publish` waits for the receipts of its batches. */
  cliInterruptGraceMs: 3 * secondMs,
  /** How long any interrupted command except `serve` may take to end. */
  cliInterruptLimitMs: 5 * secondMs,
  cliProgressEveryMs: 500,
  /** How often `sluice publish` checks whether the broker holds it. */
  cliHoldCheckEveryMs: 1 * secondMs,
  /** How often `--until-caught-up` checks whether the backlog is empty. */
  cliBacklogCheckEveryMs: 300,
  /** The most unread bytes that a pipe of the operating system holds, or a socket pair that is used as a pipe. */
  pipeBytes: 64 * KiB,
  socketPipeBytes: 512 * KiB,
  /** How long after printing a message a successful write to the pipe shows that the reader has taken it. */
  cliReaderProbeAfterMs: 250,
  /** How often within an acknowledgement deadline `--no-ack` extends its leases. */
  cliExtensionsPerDeadline: 3,
  /** How long the broker may take to end a stream that `sluice subscribe` has closed. */
  cliLeaveMs: 5 * secondMs,
} as const;
