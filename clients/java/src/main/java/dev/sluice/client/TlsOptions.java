package dev.sluice.client;

import io.grpc.ChannelCredentials;
import io.grpc.TlsChannelCredentials;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;

/** How a broker behind TLS is trusted, and how it knows this client. Everything is PEM. */
public final class TlsOptions {
  private byte[] ca;
  private byte[] cert;
  private byte[] key;
  private String serverName;

  private TlsOptions() {}

  /**
   * TLS with the authorities that the system trusts.
   *
   * @return settings to be changed
   */
  public static TlsOptions create() {
    return new TlsOptions();
  }

  /**
   * Trusts these authorities and no others.
   *
   * @param pem one or more certificates
   * @return this
   */
  public TlsOptions ca(byte[] pem) {
    this.ca = pem.clone();
    return this;
  }

  /**
   * The client's own certificate, where the broker asks for one.
   *
   * @param certPem the certificate, with those that lead to its authority
   * @param keyPem its private key, PKCS #8
   * @return this
   */
  public TlsOptions clientCertificate(byte[] certPem, byte[] keyPem) {
    this.cert = certPem.clone();
    this.key = keyPem.clone();
    return this;
  }

  /**
   * The name that the broker's certificate carries, if it is not that of the target.
   *
   * @param name a host name
   * @return this
   */
  public TlsOptions serverName(String name) {
    this.serverName = name;
    return this;
  }

  String serverName() {
    return serverName;
  }

  ChannelCredentials toCredentials() {
    try {
      TlsChannelCredentials.Builder builder = TlsChannelCredentials.newBuilder();
      if (ca != null) builder.trustManager(new ByteArrayInputStream(ca));
      if (cert != null)
        builder.keyManager(new ByteArrayInputStream(cert), new ByteArrayInputStream(key));
      return builder.build();
    } catch (IOException e) {
      throw new UncheckedIOException("the certificates can't be read", e);
    }
  }
}
