import assert from 'node:assert/strict';
import { limits } from '../../../src/base/limits.js';
import { divideBudget } from '../../../src/base/memory-budget.js';
import { KiB, MiB, minuteMs } from '../../../src/base/units.js';
import {
  Broker,
  ConsumeRequestSchema,
  PublishStreamRequestSchema,
} from '../../../src/gen/sluice/v1/broker_pb.js';
import { AttackedBroker, inFlightMiB } from '../../support/attack.js';
import { showLogOnFailure } from '../../support/broker-process.js';
import { frame } from '../../support/grpc-framing.js';
import { encode, RawConnection, type RawStream } from '../../support/raw-grpc.js';

const { streamAnswerBytes } = divideBudget({
  maxInFlightBytes: inFlightMiB * MiB,
  writerQueueBytes: limits.writerQueueBytes,
  tailBytes: limits.tailBytes,
});

/** What an open stream takes in the broker, in grpc-js and in Node beside what is in flight, and in garbage. */
const openStreamKiB = 100;
const reflectionPath = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo';

describe('a client beside hundreds of streams that read nothing:', function () {
  this.timeout(3 * minuteMs);
  this.slow(minuteMs);
  let attacked: AttackedBroker;
  let connections: RawConnection[];
  /** Of the streams: there must be none while they are played. */
  let ends: string[];

  beforeEach(async () => {
    attacked = await AttackedBroker.start(['--metrics-listen', '127.0.0.1:0']);
    connections = [];
    ends = [];
  });
  showLogOnFailure(() => attacked.process);
  afterEach(async () => {
    for (const connection of connections) connection.destroy();
    await attacked.dispose();
  });

  /** The broker may send no data on its streams. */
  async function connectStuck(): Promise<RawConnection> {
    const connection = await RawConnection.connect(attacked.process.address, { streamWindowBytes: 0 });
    connections.push(connection);
    return connection;
  }

  async function gauge(name: string): Promise<number> {
    const line = attacked.process.logLines.find((each) => each.includes('serving metrics'));
    const response = await fetch(`http://${JSON.parse(line!).address}/metrics`);
    const [, value] = new RegExp(`^${name} (.*)$`, 'm').exec(await response.text())!;
    return Number(value);
  }

  /** Resolves when the broker reads nothing more of what the streams have to send. */
  async function untilHeld(streams: readonly RawStream[]): Promise<void> {
    const waiting = () => streams.reduce((sum, { bufferedBytes }) => sum + bufferedBytes, 0);
    for (let previous = -1, same = 0; same < 20; ) {
      await gauge('sluice_open_streams');
      const now = waiting();
      same = now === previous ? same + 1 : 0;
      previous = now;
    }
    assert.deepEqual(ends, []);
    assert.ok(waiting() > 0, 'all of it was read');
  }

  async function playStuck(
    open: (connection: RawConnection) => RawStream,
    count: number,
    perConnection: number,
    answerBytes: number,
  ): Promise<void> {
    await attacked.play(
      async () => {
        const streams: RawStream[] = [];
        for (let i = 0; i < count; i += 1) {
          if (i % perConnection === 0) await connectStuck();
          streams.push(open(connections.at(-1)!));
        }
        await untilHeld(streams);
        const owedBytes = await gauge('sluice_stream_answer_bytes');
        assert.ok(owedBytes > streamAnswerBytes / 2, `only ${owedBytes} bytes wait`);
        // Each stream may have one answer, also where that is more than its part.
        const mostBytes = streamAnswerBytes + count * answerBytes;
        assert.ok(owedBytes <= mostBytes, `${owedBytes} bytes wait, of ${mostBytes}`);
      },
      inFlightMiB + (count * openStreamKiB) / 1_024,
    );
    for (const connection of connections) connection.destroy();
    // The client beside them goes on, and now and then it is owed a receipt itself.
    while ((await gauge('sluice_stream_answer_bytes')) > 0);
  }

  /** One batch, to the topic `backlog`. */
  async function publishOnce(messages: readonly { readonly payload?: Uint8Array }[]): Promise<void> {
    const connection = await RawConnection.connect(attacked.process.address);
    await new Promise<void>((resolve) => {
      const stream = connection.open(Broker.method.publishStream, {
        onMessage: () => stream.end(),
        onEnd: () => resolve(),
      });
      stream.write(encode(PublishStreamRequestSchema, { topic: 'backlog', messages: [...messages] }));
    });
    connection.destroy();
  }

  it('producers, with receipts and refusals', async () => {
    const topic = 'long-name-'.repeat(19);
    const first = encode(PublishStreamRequestSchema, { topic, messages: [{}] });
    const stored = encode(PublishStreamRequestSchema, { batchId: 1n, messages: [{}] });
    const refused = encode(PublishStreamRequestSchema, { partition: 999, batchId: 2n, messages: [{}] });
    const requests = Buffer.concat(
      Array.from({ length: 10_000 }, (_, i) => (i % 3 === 0 ? stored : refused)),
    );
    await playStuck(
      (connection) => {
        const stream = connection.open(Broker.method.publishStream, {
          onMessage() {},
          onEnd: (status) => ends.push(status.message),
        });
        stream.write(first);
        stream.write(requests);
        return stream;
      },
      200,
      50,
      limits.answerOverheadBytes + 2 * limits.maxErrorTextLength,
    );
  });

  it('consumers, with answers to settlements', async () => {
    const messageCount = 2_000;
    await publishOnce(Array.from({ length: messageCount }, () => ({})));
    const subscribe = encode(ConsumeRequestSchema, {
      subscribe: { topic: 'backlog', subscription: 's', flowControl: { maxOutstandingMessages: 0 } },
    });
    // Not held by the session, and none beside the next: each is named in the answer.
    const settlements = Array.from({ length: messageCount / 2 }, (_, i) => ({
      offsets: { partition: 0, firstOffset: BigInt(2 * i), lastOffset: BigInt(2 * i) },
      outcome: { case: 'ack' as const, value: {} },
    }));
    const settle = encode(ConsumeRequestSchema, { settlements });
    const requests = Buffer.concat(Array.from({ length: 100 }, () => settle));
    await playStuck(
      (connection) => {
        const stream = connection.open(Broker.method.consume, {
          onMessage() {},
          onEnd: (status) => ends.push(status.message),
        });
        stream.write(subscribe);
        stream.write(requests);
        return stream;
      },
      400,
      5,
      settle.length,
    );
  });

  it('consumers that leave and do not read what was sent', async () => {
    const messageBytes = 20 * KiB;
    await publishOnce(Array.from({ length: 10 }, () => ({ payload: Buffer.alloc(messageBytes) })));
    const connection = await connectStuck();
    const count = 20;
    for (let i = 0; i < count; i += 1) {
      const stream = connection.open(Broker.method.consume, { onMessage() {}, onEnd() {} });
      stream.write(encode(ConsumeRequestSchema, { subscribe: { topic: 'backlog', subscription: `${i}` } }));
      while ((await gauge('sluice_frame_bytes')) < messageBytes);
      stream.end();
      while ((await gauge('sluice_frame_bytes')) > 0);
    }
    // Their sessions have ended, and what they were sent waits for them.
    const owedBytes = await gauge('sluice_stream_answer_bytes');
    assert.ok(owedBytes > count * messageBytes, `${owedBytes} bytes wait`);
    connection.destroy();
    while ((await gauge('sluice_stream_answer_bytes')) > 0);
  });

  it('tools that ask for descriptors', async () => {
    // `file_containing_symbol` of a ServerReflectionRequest.
    const symbol = Buffer.from('sluice.v1.Broker');
    const request = frame(Buffer.concat([Buffer.of(0x22, symbol.length), symbol]));
    const requests = Buffer.concat(Array.from({ length: 20_000 }, () => request));
    await attacked.play(
      async () => {
        const streams: RawStream[] = [];
        for (let i = 0; i < 200; i += 1) {
          if (i % 8 === 0) await connectStuck();
          const stream = connections.at(-1)!.openPath(reflectionPath, {
            onMessage() {},
            onEnd: (status) => ends.push(status.message),
          });
          stream.write(requests);
          streams.push(stream);
        }
        await untilHeld(streams);
      },
      inFlightMiB + (200 * openStreamKiB) / 1_024,
    );
    for (const connection of connections) connection.destroy();
    while ((await gauge('sluice_answer_bytes')) > 0);
  });
});
