package dev.sluice.interop;

import com.google.gson.Gson;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** The interop program: see clients/interop/README.md. */
public final class Main {
  private static final int FAILED = 1;
  private static final int TIMED_OUT = 2;

  private Main() {}

  /** The result of a command: one line of JSON, and whether it succeeded. */
  record Outcome(Map<String, ?> line, boolean isGood) {}

  /** A command, which may block. */
  interface Command {
    Outcome run(Options options) throws Exception;
  }

  public static void main(String[] arguments) {
    System.exit(run(arguments));
  }

  private static int run(String[] arguments) {
    Command command;
    Options options;
    try {
      boolean isBench = arguments.length > 0 && arguments[0].equals("bench");
      String name =
          String.join(
              " ",
              java.util.List.of(arguments).subList(0, Math.min(arguments.length, isBench ? 2 : 1)));
      command = commandOf(name);
      options =
          Options.parse(
              arguments,
              isBench ? 2 : 1,
              Path.of(System.getProperty("sluice.cases", "cases.json")));
    } catch (IllegalArgumentException e) {
      System.err.println(e.getMessage());
      return FAILED;
    }
    ExecutorService runner = Executors.newSingleThreadExecutor();
    try {
      Outcome outcome =
          runner.submit(() -> command.run(options)).get(options.timeoutSeconds(), TimeUnit.SECONDS);
      System.out.println(
          new Gson()
              .newBuilder()
              .serializeNulls()
              .disableHtmlEscaping()
              .create()
              .toJson(outcome.line()));
      return outcome.isGood() ? 0 : FAILED;
    } catch (TimeoutException e) {
      System.err.println("not done after " + options.timeoutSeconds() + " seconds");
      return TIMED_OUT;
    } catch (ExecutionException e) {
      e.getCause().printStackTrace();
      return FAILED;
    } catch (InterruptedException e) {
      return FAILED;
    }
  }

  private static Command commandOf(String name) {
    return switch (name) {
      case "produce" -> new Produce();
      case "consume" -> new Consume();
      case "bench publish" -> new BenchPublish();
      case "bench consume" -> new BenchConsume();
      case "bench latency" -> new BenchLatency();
      default ->
          throw new IllegalArgumentException(
              "usage: interop produce | consume | bench publish | bench consume | bench latency"
                  + " --server <host:port> --topic <name> …");
    };
  }
}
