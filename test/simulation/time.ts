import { dayMs, hourMs, secondMs } from '../../src/base/units.js';
import type { World } from './world.js';

/** Lets time pass, for the broker and for the reference. */
export class Time {
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  /** Fires each timer at its own time. What is due then expires in the reference first. */
  advance(byMs: number): void {
    const { clock } = this.#world.host;
    const untilMs = this.#world.nowMs + byMs;
    while (clock.nextAtMs <= untilMs) {
      const atMs = Math.max(this.#world.nowMs, clock.nextAtMs);
      this.#expire(atMs);
      clock.advance(atMs - this.#world.nowMs);
    }
    clock.advance(untilMs - this.#world.nowMs);
  }

  /** Sets the wall clock, or lets both clocks leap ahead, as after the machine was suspended. */
  changeClock(): void {
    const { chance, host } = this.#world;
    if (chance.oneIn(2)) {
      host.clock.setWall(chance.pick([-dayMs, -hourMs, 0, secondMs, hourMs]));
      return;
    }
    const byMs = chance.pick([secondMs, 5 * secondMs, hourMs]);
    this.#expire(this.#world.nowMs + byMs);
    host.clock.leap(byMs);
  }

  #expire(atMs: number): void {
    for (const { model } of this.#world.reference.subscriptions.values()) {
      const isDue = model.all().some(({ state, deadlineMs }) => state === 'held' && deadlineMs <= atMs);
      if (isDue) this.#world.count('expiry');
      model.expire(atMs);
    }
  }
}
