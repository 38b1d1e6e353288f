package dev.sluice.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.module.Configuration;
import java.lang.module.ModuleFinder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** The jar as a module, with the jars of its dependencies. `make build` makes these files. */
class ModuleTest {
  @Test
  void theJarAndItsDependenciesAreModules() throws IOException {
    ModuleFinder jars = ModuleFinder.of(jar(), Path.of("target", "lib"));
    Configuration resolved =
        Configuration.resolve(
            ModuleFinder.of(),
            List.of(ModuleLayer.boot().configuration()),
            jars,
            Set.of("dev.sluice.client"));
    assertTrue(resolved.findModule("dev.sluice.client").isPresent());
    assertTrue(resolved.findModule("io.grpc.netty.shaded").isPresent());
  }

  private static Path jar() throws IOException {
    try (Stream<Path> files = Files.list(Path.of("target"))) {
      List<Path> jars =
          files.filter(file -> file.toString().matches(".*sluice-client-[0-9.]+\\.jar")).toList();
      assertEquals(1, jars.size(), "jars in target: " + jars + " (run `make build`)");
      return jars.get(0);
    }
  }
}
