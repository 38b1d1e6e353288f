import { once } from 'node:events';
import { type AddressInfo, createConnection, type Server, type Socket } from 'node:net';

/** Stands before a broker: each connection that the server accepts is joined with one of its own to the target. */
export class TcpProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
  }

  /** `serve` makes a server, of whatever kind, that calls its argument for each connection. */
  static async start(
    target: string,
    serve: (accepted: (near: Socket) => void) => Server,
    join: (near: Socket, far: Socket) => void,
  ): Promise<TcpProxy> {
    const colon = target.lastIndexOf(':');
    const [host, port] = [target.slice(0, colon), Number(target.slice(colon + 1))];
    const server = serve((near) => {
      const far = createConnection({ host, port, noDelay: true });
      for (const socket of [near, far]) {
        proxy.#sockets.add(socket);
        // The other end hears of it by its own end.
        socket.on('error', () => {});
        socket.once('close', () => proxy.#sockets.delete(socket));
      }
      join(near, far);
    });
    const proxy = new TcpProxy(server);
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
