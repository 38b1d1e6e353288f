package dev.sluice.interop;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

/** `--name value` pairs. */
record Options(Map<String, String> values, Path cases) {
  private static final java.util.Set<String> NAMES =
      java.util.Set.of(
          "server",
          "topic",
          "subscription",
          "case",
          "cases",
          "timeout",
          "messages",
          "payload-bytes",
          "rate",
          "seconds",
          "warmup");

  static Options parse(String[] arguments, int from, Path defaultCases) {
    Map<String, String> values = new HashMap<>();
    for (int i = from; i < arguments.length; i += 2) {
      boolean isOption = arguments[i].startsWith("--") && NAMES.contains(arguments[i].substring(2));
      if (!isOption) throw new IllegalArgumentException("unknown option " + arguments[i]);
      if (i + 1 == arguments.length)
        throw new IllegalArgumentException(arguments[i] + " needs a value");
      values.put(arguments[i].substring(2), arguments[i + 1]);
    }
    return new Options(
        values, values.containsKey("cases") ? Path.of(values.get("cases")) : defaultCases);
  }

  String text(String name) {
    String value = values.get(name);
    if (value == null) throw new IllegalArgumentException("--" + name + " is missing");
    return value;
  }

  int number(String name) {
    return Integer.parseInt(text(name));
  }

  int numberOr(String name, int otherwise) {
    return values.containsKey(name) ? number(name) : otherwise;
  }

  long timeoutSeconds() {
    return Long.parseLong(values.getOrDefault("timeout", "120"));
  }
}
