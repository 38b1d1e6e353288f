import { createServer, type Socket } from 'node:net';
import { systemClock } from '../../src/base/clock.js';
import { TcpProxy } from './tcp-proxy.js';

/**
 * A long way to the broker: bytes arrive half a round trip after they were sent, either way, in order. There is no
 * limit on how many are on the way, as on a fast line.
 */
export function startDelayingProxy(target: string, roundTripMs: number): Promise<TcpProxy> {
  return TcpProxy.start(
    target,
    (accepted) => createServer({ noDelay: true }, accepted),
    (near, far) => {
      forward(near, far, roundTripMs / 2);
      forward(far, near, roundTripMs / 2);
    },
  );
}

function forward(from: Socket, to: Socket, delayMs: number): void {
  const later = (act: () => void) => void systemClock.after(delayMs, act);
  from.on('data', (bytes) => later(() => to.write(bytes)));
  from.once('end', () => later(() => to.end()));
  from.once('close', () => later(() => to.destroy()));
}
