package dev.sluice.client;

import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.util.Base64;

/** A certificate that signs itself, made with the JDK's keytool. */
record Certificate(byte[] pem, byte[] keyPem) {
  private static final String PASSWORD = "changeit";

  static Certificate create(String name) throws Exception {
    Path directory = Files.createTempDirectory("sluice-cert-");
    Path store = directory.resolve("own.p12");
    try {
      Path keytool = Path.of(System.getProperty("java.home"), "bin", "keytool");
      Process made = new ProcessBuilder(
              keytool.toString(), "-genkeypair", "-alias", "own", "-keyalg", "RSA", "-validity", "1", "-storetype", "PKCS12",
              "-dname", "CN=" + name, "-ext", "san=dns:" + name, "-keystore", store.toString(), "-storepass", PASSWORD)
          .redirectErrorStream(true)
          .start();
      String said = new String(made.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      if (made.waitFor() != 0) throw new IllegalStateException(said);
      KeyStore keys = KeyStore.getInstance("PKCS12");
      try (InputStream in = Files.newInputStream(store)) {
        keys.load(in, PASSWORD.toCharArray());
      }
      return new Certificate(
          pem("CERTIFICATE", keys.getCertificate("own").getEncoded()),
          pem("PRIVATE KEY", keys.getKey("own", PASSWORD.toCharArray()).getEncoded()));
    } finally {
      Files.deleteIfExists(store);
      Files.delete(directory);
    }
  }

  private static byte[] pem(String kind, byte[] der) {
    String text = Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(der);
    return ("-----BEGIN " + kind + "-----\n" + text + "\n-----END " + kind + "-----\n").getBytes(StandardCharsets.US_ASCII);
  }
}
