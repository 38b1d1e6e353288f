package dev.sluice.client;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonSyntaxException;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** A real broker with a directory of its own. It keeps its port when it is started again. */
final class BrokerProcess implements AutoCloseable {
  private static final String MAIN =
      System.getProperty("sluice.broker", "../../dist/src/cli/main.js");
  private static final int KEPT_LINES = 60;
  private static BrokerProcess shared;

  private final Path dataDirectory;
  private final ArrayDeque<String> log = new ArrayDeque<>();
  private Process process;
  private String address = "127.0.0.1:0";

  private BrokerProcess() throws IOException {
    dataDirectory = Files.createTempDirectory("sluice-java-");
  }

  /** A broker that tests share. They use different topics, and do not stop it. */
  static synchronized BrokerProcess shared() {
    if (shared == null) {
      shared = start();
      Runtime.getRuntime().addShutdownHook(new Thread(shared::close));
    }
    return shared;
  }

  /** A broker that the test may kill. */
  static BrokerProcess start() {
    try {
      BrokerProcess broker = new BrokerProcess();
      broker.restart();
      return broker;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  String address() {
    return address;
  }

  /** kill -9, and waits until the process is gone. */
  void kill() {
    if (process == null) return;
    process.destroyForcibly();
    process.onExit().join();
  }

  /**
   * Sends a signal. STOP pauses the process until CONT, and its connections stay open; KILL is kill
   * -9.
   */
  void signal(String name) throws IOException, InterruptedException {
    int code =
        new ProcessBuilder("kill", "-" + name, Long.toString(process.pid())).start().waitFor();
    if (code != 0) throw new IOException("kill -" + name + " has failed");
  }

  /** Kills the broker if it runs, and starts it on the same directory and port. */
  void restart() throws IOException {
    kill();
    ProcessBuilder builder =
        new ProcessBuilder(
            new ArrayList<>(
                List.of(
                    "node",
                    "--initial-old-space-size=256",
                    MAIN,
                    "serve",
                    "--listen",
                    address,
                    "--data-dir",
                    dataDirectory.toString(),
                    "--log-format",
                    "json")));
    builder.environment().keySet().removeIf(name -> name.startsWith("SLUICE_"));
    builder.redirectErrorStream(true);
    process = builder.start();
    CompletableFuture<String> serving = new CompletableFuture<>();
    Process started = process;
    Thread reader = new Thread(() -> read(started, serving), "log of the broker");
    reader.setDaemon(true);
    reader.start();
    address = serving.orTimeout(90, TimeUnit.SECONDS).join();
  }

  private void read(Process of, CompletableFuture<String> serving) {
    try (BufferedReader lines = of.inputReader(StandardCharsets.UTF_8)) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        synchronized (log) {
          log.add(line);
          if (log.size() > KEPT_LINES) log.poll();
        }
        String at = servingAddress(line);
        if (at != null) serving.complete(at);
      }
      serving.completeExceptionally(
          new IllegalStateException("the broker ended before it served\n" + tail()));
    } catch (IOException e) {
      serving.completeExceptionally(e);
    }
  }

  private static String servingAddress(String line) {
    if (!line.startsWith("{")) return null;
    try {
      JsonObject entry = JsonParser.parseString(line).getAsJsonObject();
      JsonElement text = entry.has("msg") ? entry.get("msg") : entry.get("message");
      return text != null && text.getAsString().equals("serving") && entry.has("address")
          ? entry.get("address").getAsString()
          : null;
    } catch (JsonSyntaxException halfALine) {
      return null;
    }
  }

  String tail() {
    synchronized (log) {
      return String.join("\n", log);
    }
  }

  @Override
  public void close() {
    kill();
    try (Stream<Path> files = Files.walk(dataDirectory)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) Files.delete(file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
