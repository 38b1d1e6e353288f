import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';

/** HTTP/2 itself, frame by frame as it were: for tests of windows, resets and what is no gRPC at all. */
export class Http2Connection {
  readonly session: ClientHttp2Session;

  private constructor(session: ClientHttp2Session) {
    this.session = session;
  }

  static async open(address: string): Promise<Http2Connection> {
    const session = connect(`http://${address}`);
    await once(session, 'remoteSettings');
    return new Http2Connection(session);
  }

  call(path: string): ClientHttp2Stream {
    return this.session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
  }

  /** The server has handled every frame that was sent before. */
  async barrier(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.session.ping((error) => (error === null ? resolve() : reject(error)));
    });
  }

  close(): void {
    this.session.destroy();
  }
}
