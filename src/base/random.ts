/** A random source that can be repeated from its seed. */
export interface Random {
  /** Uniformly from [0, 1). */
  next(): number;
}

/** mulberry32: small, fast, and good enough for jitter and tests. Not for secrets. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  return {
    next() {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = state;
      t = Math.imul(t ^ (t >>> 15), t | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    },
  };
}
