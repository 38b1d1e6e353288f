package dev.sluice.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The examples, as a user runs them. */
@Timeout(240)
class ExamplesTest {
  private static final Pattern EXAMPLE = Pattern.compile("```java\n(.*?)```", Pattern.DOTALL);

  private static String java(String... arguments) throws IOException, InterruptedException {
    List<String> command =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                System.getProperty("java.class.path")));
    command.addAll(List.of(arguments));
    Process process =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start();
    String printed = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, process.waitFor(), printed);
    return printed;
  }

  @Test
  void theFirstExampleOfTheReadme() throws Exception {
    Matcher example = EXAMPLE.matcher(Files.readString(Path.of("README.md")));
    assertTrue(example.find());
    Path directory = Files.createTempDirectory("sluice-readme-");
    try (BrokerProcess broker = BrokerProcess.start()) {
      Path file = directory.resolve("First.java");
      Files.writeString(file, example.group(1).replace("127.0.0.1:7070", broker.address()));
      assertEquals("stored in partition 0 at offset 0\ntwo tickets\n", java(file.toString()));
      Files.delete(file);
    } finally {
      Files.deleteIfExists(directory);
    }
  }

  @Test
  void orders() throws Exception {
    try (BrokerProcess broker = BrokerProcess.start()) {
      String printed = java("dev.sluice.examples.Orders", broker.address());
      assertTrue(printed.contains("30 orders are durable\n"), printed);
      assertTrue(printed.contains("order 7 of ben fails, attempt 1\n"), printed);
      assertTrue(printed.contains("29 orders were billed\n"), printed);
    }
  }
}
