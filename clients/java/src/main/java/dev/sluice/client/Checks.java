package dev.sluice.client;

/** Checks values of settings. */
final class Checks {
  private Checks() {}

  static int atLeast(int least, int value, String name) {
    return (int) atLeast((long) least, value, name);
  }

  static long atLeast(long least, long value, String name) {
    if (value < least)
      throw new IllegalArgumentException(name + " is " + value + ": it is at least " + least);
    return value;
  }
}
