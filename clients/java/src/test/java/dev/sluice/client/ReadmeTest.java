package dev.sluice.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.tools.JavaCompiler;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The first example of the README and the example program, as somebody would run them. */
@Timeout(60)
class ReadmeTest {
  @TempDir static Path directory;

  @Test
  void theFirstExampleOfTheReadmeWorks() throws IOException, InterruptedException {
    Matcher example = Pattern.compile("```java\n(.*?)```", Pattern.DOTALL).matcher(Files.readString(Path.of("README.md")));
    assertTrue(example.find());
    String code = example.group(1);
    assertTrue(code.contains("\"127.0.0.1:7070\""));
    Path source = directory.resolve("Quickstart.java");
    Files.writeString(source, code.replace("127.0.0.1:7070", BrokerProcess.shared().address()));
    compile(source);
    assertEquals("stored in partition 0 at offset 0\ntwo tickets\n", run("Quickstart"));
  }

  @Test
  void theExampleWorks() throws IOException, InterruptedException {
    String output = run("dev.sluice.examples.Orders", BrokerProcess.shared().address());
    assertEquals(10, output.lines().filter(line -> line.startsWith("stored in partition ")).count());
    assertTrue(output.contains("billed order 3 to customer-0, attempt 2\n"), output);
  }

  private static void compile(Path source) throws IOException {
    JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    StringWriter said = new StringWriter();
    try (StandardJavaFileManager files = compiler.getStandardFileManager(null, null, null)) {
      List<String> options = List.of("-cp", System.getProperty("java.class.path"), "-d", directory.toString());
      assertTrue(compiler.getTask(said, files, null, options, null, files.getJavaFileObjects(source)).call(), said.toString());
    }
  }

  private static String run(String... command) throws IOException, InterruptedException {
    List<String> all = new java.util.ArrayList<>(List.of("java", "-cp", directory + ":" + System.getProperty("java.class.path")));
    all.addAll(List.of(command));
    Path errors = directory.resolve("errors");
    Process process = new ProcessBuilder(all).redirectError(errors.toFile()).start();
    String output = new String(process.getInputStream().readAllBytes());
    assertTrue(process.waitFor(20, TimeUnit.SECONDS));
    assertEquals(0, process.exitValue(), Files.readString(errors));
    return output;
  }
}
