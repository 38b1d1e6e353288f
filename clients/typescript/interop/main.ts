import { parseArgs } from 'node:util';
import { connect } from '@sluice/client';
import { benchConsume, benchLatency, benchPublish } from './bench.js';
import { consume, produce } from './transfer.js';

const timedOut = 2;

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    server: { type: 'string' },
    topic: { type: 'string' },
    subscription: { type: 'string' },
    case: { type: 'string' },
    cases: { type: 'string' },
    messages: { type: 'string' },
    'payload-bytes': { type: 'string', default: '100' },
    rate: { type: 'string', default: '1000' },
    seconds: { type: 'string', default: '10' },
    warmup: { type: 'string', default: '0' },
    timeout: { type: 'string', default: '120' },
  },
});

function need(name: 'server' | 'topic' | 'subscription' | 'case' | 'messages'): string {
  const value = flags[name];
  if (value === undefined) throw new Error(`--${name} is missing`);
  return value;
}

async function run(): Promise<object> {
  const client = connect(need('server'));
  const topic = need('topic');
  const payloadBytes = Number(flags['payload-bytes']);
  try {
    switch (positionals.join(' ')) {
      case 'produce':
        return await produce(client, topic, need('case'), flags.cases);
      case 'consume':
        return await consume(client, topic, need('subscription'), need('case'), flags.cases);
      case 'bench publish':
        return await benchPublish(client, topic, Number(need('messages')), payloadBytes);
      case 'bench consume':
        return await benchConsume(client, topic, need('subscription'), Number(need('messages')));
      case 'bench latency': {
        const [rate, seconds, warmupSeconds] = [flags.rate, flags.seconds, flags.warmup].map(Number) as [
          number,
          number,
          number,
        ];
        const subscription = need('subscription');
        return await benchLatency(client, {
          topic,
          subscription,
          rate,
          seconds,
          warmupSeconds,
          payloadBytes,
        });
      }
      default:
        throw new Error(`no command "${positionals.join(' ')}": see clients/interop/README.md`);
    }
  } finally {
    client.close();
  }
}

setTimeout(() => {
  console.error(`not done after ${flags.timeout} seconds`);
  process.exit(timedOut);
}, Number(flags.timeout) * 1000).unref();

try {
  const result = await run();
  console.log(JSON.stringify(result));
  const hasProblems = 'problems' in result && Array.isArray(result.problems) && result.problems.length > 0;
  process.exitCode = hasProblems ? 1 : 0;
} catch (error) {
  console.error(error);
  process.exitCode = 1;
}
