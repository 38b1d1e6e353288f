import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { TcpProxy } from './tcp-proxy.js';

interface Joint {
  readonly near: Socket;
  readonly far: Socket;
  /** Undefined: bytes go on at once. */
  held: Buffer[] | undefined;
  /** What the broker answers is thrown away. */
  isSwallowing: boolean;
}

/**
 * A proxy that can go silent: connections stay open, and what is written into them goes nowhere, until the test lets it
 * go on. New connections pass.
 */
export class HoldingProxy {
  #proxy: TcpProxy | undefined;
  readonly #joints: Joint[] = [];
  /** So many connections that come are silent from their first byte. */
  silentCount = 0;

  static async start(target: string): Promise<HoldingProxy> {
    const holding = new HoldingProxy();
    holding.#proxy = await TcpProxy.start(
      target,
      (accepted) => createServer({ noDelay: true }, accepted),
      (near, far) => holding.#join(near, far),
    );
    return holding;
  }

  get address(): string {
    return this.#proxy!.address;
  }

  get connectionCount(): number {
    return this.#joints.length;
  }

  /** So many bytes of the clients are held. */
  get heldBytes(): number {
    return this.#joints.flatMap(({ held }) => held ?? []).reduce((sum, { length }) => sum + length, 0);
  }

  /** Holds what clients send over the connections that there are, and swallows what the broker answers. */
  hold(): void {
    this.swallowAnswers();
    for (const joint of this.#joints) joint.held ??= [];
  }

  /** The broker gets everything; its answers go nowhere. */
  swallowAnswers(): void {
    for (const joint of this.#joints) joint.isSwallowing = true;
  }

  /** The clients' ends of silent connections break; those to the broker stay. */
  abandon(): void {
    for (const { near, isSwallowing } of this.#joints) if (isSwallowing) near.destroy();
  }

  /** Lets the broker have what was held, in order, and resolves when it has read that and closed the connection. */
  async release(): Promise<void> {
    for (const { far, held } of this.#joints) {
      if (held === undefined) continue;
      for (const bytes of held) far.write(bytes);
      far.end();
      if (!far.destroyed) await once(far, 'close');
    }
  }

  /** All connections break, and what was held is lost. */
  breakAll(): void {
    for (const { near, far } of this.#joints) {
      near.destroy();
      far.destroy();
    }
  }

  close(): void {
    this.#proxy?.close();
  }

  #join(near: Socket, far: Socket): void {
    const joint: Joint = { near, far, held: undefined, isSwallowing: false };
    if (this.silentCount > 0) {
      this.silentCount--;
      joint.held = [];
      joint.isSwallowing = true;
    }
    this.#joints.push(joint);
    near.on('data', (bytes) => {
      if (joint.held === undefined) far.write(bytes);
      else joint.held.push(bytes);
    });
    far.on('data', (bytes) => {
      if (!joint.isSwallowing) near.write(bytes);
    });
    // A client that gives a silent connection up does not reach the broker.
    near.once('close', () => {
      if (!joint.isSwallowing) far.destroy();
    });
    far.once('close', () => near.destroy());
  }
}
