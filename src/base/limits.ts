import { dayMs, GiB, KiB, MiB, minuteMs, secondMs } from './units.js';

/**
 * Every bound on the path of a message, and every limit on what a request may ask. What is a setting says so:
 * the number here is then its default.
 */
export const limits = {
  // --- What a request may ask -----------------------------------------------------------------------------
  /** Names of topics, subscriptions and producers, in characters. */
  maxNameLength: 200,
  maxConsumerIdLength: 200,
  /** One encoded message. Setting. */
  maxMessageBytes: 1 * MiB,
  /** One request, encoded. Setting. */
  maxRequestBytes: 4 * MiB,
  maxKeyBytes: 1 * KiB,
  maxMessagesPerRequest: 100_000,
  maxSettlementsPerRequest: 10_000,
  maxReasonLength: 1_000,
  /** Dead-letter notes that a settlement of what was settled before is compared with, in each partition. */
  deadLetterNotesPerSettlement: 10_000,
  /** The partitions that a topic may have: column families of the store. Setting, fixed when it is made. */
  maxPartitionCount: 16,
  maxTopics: 100_000,
  maxPageSize: 1_000,
  defaultPageSize: 100,
  minAckDeadlineMs: 100,
  maxAckDeadlineMs: 12 * 60 * minuteMs,
  maxBackoffMs: 1 * dayMs,
  maxAttempts: 10_000,
  /** Offsets, sequences and counts are kept as IEEE doubles: exact up to here. */
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
   * How long a session that let a lease lapse is passed over if nothing is heard of it: so many lease times, and at
   * least so long; twice as long after each further lapse, up to the most.
   */
  silenceLeaseTimes: 10,
  minSilenceMs: 1 * minuteMs,
  maxSilenceMs: 60 * minuteMs,
  /** The messages of a partition that are delivered alone at a time, because two streams broke with them at work. */
  suspectsPerPartition: 256,

  // --- All of it ------------------------------------------------------------------------------------------
  /** Memory for everything in flight. Setting. */
  maxInFlightBytes: 1 * GiB,

  // --- From a producer to the disk ------------------------------------------------------------------------
  /** Receive window of one HTTP/2 stream, and of one connection. Settings. */
  streamWindowBytes: 1 * MiB,
  connectionWindowBytes: 16 * MiB,
  /** The window that every stream begins with. */
  initialWindowBytes: 64 * KiB,
  /** Appends that wait for the writer or are with it: above this, producers' streams are not read. Setting. */
  writerQueueBytes: 16 * MiB,
  /** One commit: more waits for the next one. */
  roundBytes: 4 * MiB,
  /** How long a producer that was held and let in keeps room for a request that does not come. */
  admissionMs: 50,
  /** How often the share of a topic is computed anew while a whole queue of requests arrives. */
  levelsPerQueue: 64,
  /** How much of what a topic had less than the others is made up for in a round, and at most, of its share. */
  owedPerRound: 1 / 8,
  mostOwedShare: 1 / 4,
  /** Connections whose last topic is known, so that their next stream waits in its line. */
  rememberedPeers: 16_384,
  /** What the first request of a topic is taken to be, where room has to be kept for it. */
  usualRequestBytes: 64 * KiB,
  /** Commits that are with the writer thread at once: one syncs, one is ready. */
  roundsUnderWay: 2,
  /** Memory of commits that the tail has dropped, kept for the next ones. */
  spareRoundBytes: 16 * MiB,
  /** A second commit is put together while one is under way only once this much waits: small ones gather. */
  secondRoundBytes: 256 * KiB,
  /** One log record; a single larger message still makes one. */
  recordBytes: 256 * KiB,
  /** Batches of one PublishStream that wait for their receipt. */
  batchesPerStream: 1_000,

  // --- From the disk to a consumer ------------------------------------------------------------------------
  /** Committed records kept in memory for consumers that keep up. Setting. */
  tailBytes: 64 * MiB,
  /** What a log reader fetches from the disk at once, and holds ready for its next read. */
  readAheadBytes: 256 * KiB,
  smallestReadAheadBytes: 16 * KiB,
  /** Records fetched at once, where they are so small that the bytes above are not reached. */
  readAheadRecords: 1_000,
  /**
   * How long a scan of the log stays open, but for a read under way; then its reader opens another where it goes on.
   * An open scan keeps every memtable that was there when it was opened: at full speed that is 100 MB for each second.
   */
  scanOpenMs: 200,
  /** A log reader that is not asked for this long gives up what it holds. */
  readerIdleMs: 1 * secondMs,
  /** Messages of one frame, and the least that a frame may shrink to; a single larger message still makes one. */
  frameBytes: 256 * KiB,
  smallestFrameBytes: 16 * KiB,
  /** Frames under way to one stream. */
  framesUnderWay: 2,
  /** Memory of frames that have left, kept for the next ones. */
  spareFrameBytes: 8 * MiB,
  /** Log reads that run at once, over all consumers. Setting. */
  concurrentReads: 8,
  /** Messages of one partition and subscription that wait for their key while others pass them (ordering KEY). */
  deferredMessages: 10_000,
  /** Streams open at once, over all connections. Setting. */
  maxStreams: 20_000,
  /** Calls open at once that are no streams, over all connections, and on one of them. The first is a setting. */
  maxCalls: 10_000,
  callsPerConnection: 5_000,
  /** A connection may always have so many calls, also where others have used up what there is. */
  freeCalls: 10,
  /** Streams that one address may open in a second, and for how many seconds' worth of them at once. Setting. */
  maxOpensPerSecond: 1_000,
  opensBurstSeconds: 10,
  /** A connection may always open so many streams a second, also where others of its address open too many. */
  freeOpensPerSecond: 10,
  /** Calls of one address that are reset before they are begun: more, and each such connection is cut. */
  brokenOpensPerSecond: 20,
  brokenOpensBurst: 200,
  /** Refused calls of one connection in a second: more, and it is cut. */
  refusalsPerSecond: 1_000,
  /** Connections open at once from one address. Setting. */
  maxConnectionsPerPeer: 2_000,
  /** Connections above that which hear why they are refused, each for so long. */
  surplusConnections: 64,
  surplusConnectionMs: 1 * secondMs,
  /** How long what an address has used up is remembered after its last connection. */
  forgetHostMs: 60 * secondMs,
  /** How long a call may take to bring its one request. */
  requestTimeoutMs: 10 * secondMs,
  /** Answers of unary calls that one connection has not read: above this, its calls wait. */
  answerBytesPerConnection: 1 * MiB,
  /** Answers that one connection gets in a turn of the event loop. */
  answersPerTurn: 8,
  /** The part of the free memory for answers of streams that one stream may hold. */
  streamAnswersShare: 1 / 4,
  /** What an answer of a stream takes beside its bytes, in the broker, in grpc-js and in Node. */
  answerOverheadBytes: 768,
  /** What a range of the answer to a Publish takes until the call ends. */
  rangeOverheadBytes: 128,
  /** Assignments on their way to one consumer: above this, it gets only the latest. */
  assignmentsUnderWay: 8,
  /** Where unread answers fill their memory: connections that have read none for so long are cut. */
  answerTimeoutMs: 30 * secondMs,
  /** The one request of a lookup, or of a call that opens a stream: names, a page token, a position. */
  smallRequestBytes: 8 * KiB,
  /** The configuration of a topic or a subscription, sent back with the statistics of every partition. */
  configRequestBytes: 64 * KiB,
  /** Requests that are held for the calls of one connection. One alone may be larger. */
  requestBytesPerConnection: 8 * MiB,
  /** A connection may always hold so much, also where others have used up what there is. */
  freeRequestBytes: 64 * KiB,
  /** What decompressing a request takes beside the request. */
  decompressionBytes: 64 * KiB,
  /** Headers of one call, names and values, by the count of HTTP/2 (RFC 9113, 6.5.2). */
  headerListBytes: 8 * KiB,

  /** Messages that one commit moves to a dead-letter topic. */
  deadLetterBatchMessages: 500,

  // --- From the dead letters back to their subscription -----------------------------------------------------
  /** Messages of one commit of a redrive. */
  redriveBatchMessages: 1_000,
  /** What a redrive with a rate may send at once: as much as the rate brings in this time. */
  redriveBurstMs: 100,
  /** How often a redrive says how far it is: twice as often as it promises. */
  redriveProgressEveryMs: 500,

  // --- At the network's edge --------------------------------------------------------------------------------
  /**
   * How far above `maxRequestBytes` a request is still read, so that its refusal can name the batch. Anything
   * larger is refused by its length, before it is read.
   */
  oversizeReadBytes: 1 * MiB,
  /** Settlement requests of one Consume stream that are not answered: above this, the stream is not read. */
  settlementRequestsPerStream: 100,
  /** Ranges of one PublishResponse; a stream that fell into more pieces is answered without them. */
  maxRangesPerResponse: 10_000,
  /** The same for a PublishFailure, which travels in a header. */
  maxRangesPerFailure: 100,
  /** How soon after a consumer closed its half of the stream a reset still means that it broke off. */
  resetGraceMs: 50,
  maxPageTokenLength: 1_000,
  /** Text of an error, in characters: it travels in headers, and clients bound those to 8 KiB. */
  maxErrorTextLength: 500,
  /** An idle connection is asked for a sign of life this often, and given up when none comes in time. */
  keepaliveEveryMs: 30 * secondMs,
  keepaliveTimeoutMs: 10 * secondMs,
  /** How long closing waits for calls under way before it cuts them off. */
  drainGraceMs: 10 * secondMs,
  /** Then: how long the last answers may take to leave, to clients that may not be reading. */
  lingerMs: 1 * secondMs,
  /** Then: how long connections that were cut off may take to close before closing goes on without them. */
  cutOffMs: 1 * secondMs,
  /** How long the store may take to write what it has and to close, before the process ends without that. */
  closeStoreMs: 15 * secondMs,
  /** Connections of the HTTP server of the metrics, and how long one may stay without reading or sending. */
  adminConnections: 32,
  adminIdleMs: 30 * secondMs,
  /** How long the HTTP server of the metrics may take to close. */
  closeAdminMs: 1 * secondMs,

  // --- Metadata -------------------------------------------------------------------------------------------
  /** Producers whose sequence is kept in memory; the others are read back when they return. */
  cachedProducers: 100_000,
  /** How often the offsets known to be synced are noted. */
  syncedOffsetsEveryMs: 2 * secondMs,
  /** How far the wall clock may be set back while publish times wait for it; further, and they follow it. */
  clockHoldMs: 60 * secondMs,
  /** Places in a partition where publish times go back that are remembered, so that a search by time stays exact. */
  clockStepsKept: 16,
  heartbeatEveryMs: 15 * secondMs,
  /** Heartbeats that are sent in one go, and the pause behind them. */
  heartbeatsAtOnce: 250,
  heartbeatPauseMs: 10,
  /** Subscriptions whose cursors are read at once when the broker starts. */
  cursorReadsAtOnce: 64,
  /** Free space on the data disk below which producers are held. Setting. */
  minFreeDiskBytes: 256 * MiB,
  freeDiskCheckEveryMs: 1 * secondMs,
  /** Between two looks while producers are held only by what is on its way to the disk. */
  freeDiskRecheckMs: 20,
  /** RocksDB fills one memtable for every partition number, and so many more may be full and not written yet. */
  memtableBytes: 4 * MiB,
  fullMemtables: 4,
  /** What a submitted byte takes on the disk at most before older ones are compacted: in the log, and in a table. */
  diskBytesPerByte: 2,
  /** Pause between two sweeps of retention: how long a message may stay after it may go. */
  retentionEveryMs: 1 * secondMs,
  /** How soon a used-up backlog is measured again after something was settled. */
  backlogMeasureDelayMs: 2,
  /** When to try again after BACKLOG_FULL, and after DISK_NEARLY_FULL. */
  backlogRetryAfterMs: 1 * secondMs,
  diskRetryAfterMs: 5 * secondMs,

  /** Log lines that wait for whoever reads them; more are dropped. */
  logQueueBytes: 4 * MiB,
  /** After a failed write: time for the refusals to leave before the process ends. */
  failureGraceMs: 250,

  // --- How far settings may go ----------------------------------------------------------------------------
  /** Every partition is a column family with its own memtables. */
  largestMaxPartitionCount: 256,
  /** A request is held in memory as a whole, several times over while it is written. */
  largestMaxRequestBytes: 256 * MiB,
  /** RFC 9113: windows are 31 bits wide; below this, even one frame would not fit. */
  smallestWindowBytes: 64 * KiB,
  largestWindowBytes: 2 ** 31 - 1,
  largestConcurrentReads: 1_024,

  // --- The command line -----------------------------------------------------------------------------------
  /** Batches of `sluice publish` that wait for their receipt; below `batchesPerStream`, so never refused. */
  cliBatchesInFlight: 64,
  cliBatchMessages: 1_000,
  cliBatchBytes: 256 * KiB,
  /** What one read of a file or of stdin brings. */
  cliInputChunkBytes: 1 * MiB,
  cliCallTimeoutMs: 30 * secondMs,
  /** How long an interrupted `sluice publish` waits for the receipts of what is under way. */
  cliInterruptGraceMs: 3 * secondMs,
  /** How long any interrupted command but `serve` may take to end. */
  cliInterruptLimitMs: 5 * secondMs,
  cliProgressEveryMs: 500,
  /** How often `sluice publish` looks whether the broker holds it. */
  cliHoldCheckEveryMs: 1 * secondMs,
  /** How often `--until-caught-up` asks whether the backlog is gone. */
  cliBacklogCheckEveryMs: 300,
  /** What a pipe of the operating system holds unread, and a pair of sockets that is used as one, at most. */
  pipeBytes: 64 * KiB,
  socketPipeBytes: 512 * KiB,
  /** How long after a message was printed a write to the pipe shows that its reader has not ended before it. */
  cliReaderProbeAfterMs: 250,
  /** How often within an acknowledgement deadline `--no-ack` extends its leases. */
  cliExtensionsPerDeadline: 3,
  /** How long the broker may take to end a stream of `sluice subscribe` that leaves in good order. */
  cliLeaveMs: 5 * secondMs,
} as const;
