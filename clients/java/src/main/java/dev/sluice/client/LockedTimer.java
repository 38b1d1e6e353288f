package dev.sluice.client;

/** Runs tasks later. The owner of the timer holds its lock while a task runs. */
@FunctionalInterface
interface LockedTimer {
  void after(long waitMs, Runnable task);
}
