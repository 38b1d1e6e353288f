package dev.sluice.client;

import java.net.ConnectException;
import java.net.UnknownHostException;
import java.security.cert.CertPathBuilderException;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertificateException;
import javax.net.ssl.SSLException;
import org.jspecify.annotations.Nullable;

/** Describes why a broker cannot be reached. */
final class ConnectionCause {
  private final String target;
  private final boolean hasTls;

  /** `target` is a target of gRPC: `host:port`, or `dns:///host:port`. */
  ConnectionCause(String target, boolean hasTls) {
    this.target = target.substring(target.lastIndexOf('/') + 1);
    this.hasTls = hasTls;
  }

  String lost() {
    return "the connection to " + target + " was lost";
  }

  /**
   * The cause of the error of a call. Types of Netty are compared by their simple name, because
   * grpc-netty-shaded moves them to another package.
   */
  String of(@Nullable Throwable error) {
    if (error == null) return target + " cannot be reached";
    String text = String.valueOf(error.getMessage());
    for (@Nullable Throwable at = error; at != null; at = at.getCause()) {
      text = String.valueOf(at.getMessage());
      String kind = at.getClass().getSimpleName();
      if (at instanceof UnknownHostException) return "the name " + host() + " cannot be resolved";
      if (kind.equals("NotSslRecordException"))
        return "the broker at " + target + " does not speak TLS";
      if (isDistrust(at)) return "the broker's certificate is not trusted: " + text;
      if (kind.equals("ConnectTimeoutException")) return target + " does not answer";
      if (at instanceof ConnectException) return "nothing listens at " + target;
      if (kind.equals("Http2Exception")) return ofFirstBytes(text);
      if (at.getCause() == null && text.contains("Keepalive")) return target + " does not answer";
    }
    // gRPC reports this text for a connection that was closed before it received a byte. A TLS
    // server closes a connection so
    // when the client does not speak TLS.
    if (!hasTls && text.contains("Network closed")) return speaksTls();
    return target + " cannot be reached: " + text;
  }

  private static boolean isDistrust(Throwable at) {
    return at instanceof CertificateException
        || at instanceof CertPathBuilderException
        || at instanceof CertPathValidatorException
        || (at instanceof SSLException && String.valueOf(at.getMessage()).contains("certificate"));
  }

  /** The text contains the first bytes as hexadecimal numbers. A TLS alert begins with 15 03. */
  private String ofFirstBytes(String text) {
    if (!hasTls && text.contains("1503")) return speaksTls();
    return "what listens at " + target + " does not speak HTTP/2: " + text;
  }

  private String speaksTls() {
    return "the broker at " + target + " speaks TLS, and this client does not";
  }

  private String host() {
    int colon = target.lastIndexOf(':');
    return colon < 0 ? target : target.substring(0, colon);
  }
}
