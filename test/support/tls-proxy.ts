import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer } from 'node:tls';
import { TcpProxy } from './tcp-proxy.js';

interface KeyPair {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** A certificate authority of a day, made with openssl, that only tests trust. */
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

/**
 * Ends TLS in front of a broker, as a load balancer does. With `clientAuthority` only clients are let in that have a
 * certificate of it.
 */
export function startTlsProxy(target: string, own: KeyPair, clientAuthority?: Buffer): Promise<TcpProxy> {
  const asks = clientAuthority === undefined ? {} : { ca: clientAuthority, requestCert: true };
  return TcpProxy.start(
    target,
    (accepted) => createServer({ ...own, ...asks, ALPNProtocols: ['h2'] }, accepted),
    (near, far) => near.pipe(far).pipe(near),
  );
}
