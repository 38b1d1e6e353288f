package dev.sluice.client;

import io.grpc.ChannelCredentials;
import io.grpc.TlsChannelCredentials;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import org.jspecify.annotations.Nullable;

/** Certificates and names for connections with TLS. Certificates and keys are PEM. */
public final class TlsOptions {
  private byte @Nullable [] ca;
  private byte @Nullable [] cert;
  private byte @Nullable [] key;
  private @Nullable String serverName;

  private TlsOptions() {}

  /**
   * TLS with the certificate authorities that the system trusts.
   *
   * @return options that can be changed
   */
  public static TlsOptions create() {
    return new TlsOptions();
  }

  /**
   * Trusts only these certificate authorities.
   *
   * @param pem one or more certificates
   * @return this
   */
  public TlsOptions ca(byte[] pem) {
    this.ca = pem.clone();
    return this;
  }

  /**
   * The certificate of the client, for a broker that asks for it.
   *
   * @param certPem the certificate, with the chain of certificates to its authority
   * @param keyPem the private key of the certificate, PKCS #8
   * @return this
   */
  public TlsOptions clientCertificate(byte[] certPem, byte[] keyPem) {
    this.cert = certPem.clone();
    this.key = keyPem.clone();
    return this;
  }

  /**
   * The name in the certificate of the broker, if it differs from the host of the target.
   *
   * @param name a host name
   * @return this
   */
  public TlsOptions serverName(String name) {
    this.serverName = name;
    return this;
  }

  @Nullable String serverName() {
    return serverName;
  }

  ChannelCredentials toCredentials() {
    try {
      TlsChannelCredentials.Builder builder = TlsChannelCredentials.newBuilder();
      if (ca != null) builder.trustManager(new ByteArrayInputStream(ca));
      if (cert != null && key != null)
        builder.keyManager(new ByteArrayInputStream(cert), new ByteArrayInputStream(key));
      return builder.build();
    } catch (IOException e) {
      throw new UncheckedIOException("the certificates cannot be parsed", e);
    }
  }
}
