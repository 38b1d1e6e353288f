import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer, type Server } from 'node:tls';

interface KeyPair {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** A certificate authority of a day, made with openssl, that nobody but a test trusts. */
export class TestAuthority {
  readonly #directory = mkdtempSync(join(tmpdir(), 'sluice-ca-'));

  constructor() {
    const subject = ['-subj', '/CN=test authority', '-days', '1', '-nodes', '-newkey', 'rsa:2048'];
    this.#openssl('req', '-x509', '-keyout', 'ca.key', '-out', 'ca.pem', ...subject);
  }

  get certificate(): Buffer {
    return this.#read('ca.pem');
  }

  issue(name: string): KeyPair {
    this.#openssl(
      'req',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-subj',
      `/CN=${name}`,
      '-keyout',
      'own.key',
      '-out',
      'own.csr',
    );
    writeFileSync(join(this.#directory, 'own.ext'), `subjectAltName=DNS:${name}\n`);
    const signed = [
      '-CA',
      'ca.pem',
      '-CAkey',
      'ca.key',
      '-CAcreateserial',
      '-days',
      '1',
      '-extfile',
      'own.ext',
    ];
    this.#openssl('x509', '-req', '-in', 'own.csr', '-out', 'own.pem', ...signed);
    return { cert: this.#read('own.pem'), key: this.#read('own.key') };
  }

  dispose(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #openssl(...args: string[]): void {
    execFileSync('openssl', args, { cwd: this.#directory, stdio: 'pipe' });
  }

  #read(name: string): Buffer {
    return readFileSync(join(this.#directory, name));
  }
}

/** Ends TLS in front of a broker, as a load balancer does. */
export class TlsProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
  }

  /** With `clientAuthority` only clients are let in that have a certificate of it. */
  static async start(target: string, own: KeyPair, clientAuthority?: Buffer): Promise<TlsProxy> {
    const colon = target.lastIndexOf(':');
    const [host, port] = [target.slice(0, colon), Number(target.slice(colon + 1))];
    const asks = clientAuthority === undefined ? {} : { ca: clientAuthority, requestCert: true };
    const server = createServer({ ...own, ...asks, ALPNProtocols: ['h2'] }, (near) => {
      const far = connect({ host, port });
      for (const socket of [near, far]) {
        proxy.#sockets.add(socket);
        // The other end hears of it by its own end.
        socket.on('error', () => {});
        socket.once('close', () => proxy.#sockets.delete(socket));
      }
      near.pipe(far).pipe(near);
    });
    const proxy = new TlsProxy(server);
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
