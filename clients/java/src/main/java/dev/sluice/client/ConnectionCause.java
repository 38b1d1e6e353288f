package dev.sluice.client;

import java.net.ConnectException;
import java.net.UnknownHostException;
import java.security.cert.CertPathBuilderException;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertificateException;
import javax.net.ssl.SSLException;

/** Says in plain words why a broker can't be reached. */
final class ConnectionCause {
  private final String target;
  private final boolean hasTls;

  /** `target` as of gRPC: `host:port`, or `dns:///host:port`. */
  ConnectionCause(String target, boolean hasTls) {
    this.target = target.substring(target.lastIndexOf('/') + 1);
    this.hasTls = hasTls;
  }

  String lost() {
    return "the connection to " + target + " was lost";
  }

  /** Of what a call fails with. The types of the library are not ours to name: it is repackaged. */
  String of(Throwable error) {
    if (error == null) return target + " cannot be reached";
    String text = String.valueOf(error.getMessage());
    for (Throwable at = error; at != null; at = at.getCause()) {
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
    // So gRPC says of a connection that was closed before anything came: TLS servers do that with
    // what is no TLS.
    if (!hasTls && text.contains("Network closed")) return speaksTls();
    return target + " cannot be reached: " + text;
  }

  private static boolean isDistrust(Throwable at) {
    return at instanceof CertificateException
        || at instanceof CertPathBuilderException
        || at instanceof CertPathValidatorException
        || (at instanceof SSLException && String.valueOf(at.getMessage()).contains("certificate"));
  }

  /** Netty tells the first bytes; a record of TLS that is an alert begins with 15 03. */
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
