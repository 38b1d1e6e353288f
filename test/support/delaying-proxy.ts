import { once } from 'node:events';
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from 'node:net';
import { systemClock } from '../../src/base/clock.js';

/**
 * A long way to the broker: bytes arrive half a round trip after they were sent, either way, in order. There is no
 * limit on how many are on the way, as on a fast line.
 */
export class DelayingProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(target: string, roundTripMs: number): Promise<DelayingProxy> {
    const colon = target.lastIndexOf(':');
    const [host, port] = [target.slice(0, colon), Number(target.slice(colon + 1))];
    const server = createServer({ noDelay: true }, (near) => {
      const far = createConnection({ host, port, noDelay: true });
      for (const socket of [near, far]) {
        proxy.#sockets.add(socket);
        // The other end hears of it by its own end.
        socket.on('error', () => {});
        socket.once('close', () => proxy.#sockets.delete(socket));
      }
      forward(near, far, roundTripMs / 2);
      forward(far, near, roundTripMs / 2);
    });
    const proxy = new DelayingProxy(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return proxy;
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

function forward(from: Socket, to: Socket, delayMs: number): void {
  const later = (act: () => void) => void systemClock.after(delayMs, act);
  from.on('data', (bytes) => later(() => to.write(bytes)));
  from.once('end', () => later(() => to.end()));
  from.once('close', () => later(() => to.destroy()));
}
