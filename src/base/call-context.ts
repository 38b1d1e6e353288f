/** The identity in whose name a call is made. Every caller is anonymous until there is authentication. */
export interface Principal {
  readonly name: string;
}

export const anonymous: Principal = { name: 'anonymous' };

/** The position of a call in the caller's distributed trace, as in W3C Trace Context. */
export interface TraceContext {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** The span of the caller: 16 hexadecimal digits. */
  readonly parentId: string;
  readonly isSampled: boolean;
}

/** The circumstances of one call. The transport creates it once for each call; handlers and broker receive it. */
export interface CallContext {
  readonly principal: Principal;
  /** Address and port of the client. A client on a socket in the file system has none: then this is a fixed text. */
  readonly peer: string;
  /** Wall-clock time at which the client gives up. Undefined: the client set no deadline. */
  readonly deadlineAtMs: number | undefined;
  /** Undefined: the client sent no trace, or one that is not valid. */
  readonly trace: TraceContext | undefined;
}
