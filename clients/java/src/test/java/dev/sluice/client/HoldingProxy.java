package dev.sluice.client;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;

/**
 * Stands before a broker. Can hold what clients send on the connections of now and let it go later,
 * as a network does whose packets are delayed; or swallow everything, as one does that is cut
 * without a word.
 */
final class HoldingProxy implements AutoCloseable {
  private final String host;
  private final int port;
  private final ServerSocket listening;
  private volatile boolean isRefusing;
  private final List<Pipe> pipes = new CopyOnWriteArrayList<>();

  HoldingProxy(String target) {
    int colon = target.lastIndexOf(':');
    host = target.substring(0, colon);
    port = Integer.parseInt(target.substring(colon + 1));
    try {
      listening = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    daemon(this::accept);
  }

  String address() {
    return "127.0.0.1:" + listening.getLocalPort();
  }

  private static void daemon(Runnable task) {
    Thread thread = new Thread(task, "proxy");
    thread.setDaemon(true);
    thread.start();
  }

  private void accept() {
    try {
      for (; ; ) {
        Socket near = listening.accept();
        if (isRefusing) {
          near.close();
          continue;
        }
        Pipe pipe = new Pipe(near, new Socket(host, port));
        pipes.add(pipe);
        daemon(() -> pipe.pass(true));
        daemon(() -> pipe.pass(false));
      }
    } catch (IOException closed) {
      // At the end of the test.
      return;
    }
  }

  /** Keeps what clients send from now on over the connections that are open now. */
  void hold() {
    for (Pipe pipe : pipes) pipe.hold();
  }

  /** Closes new connections at once, or lets them through again. */
  void refuse(boolean isRefused) {
    isRefusing = isRefused;
  }

  /** Whether something was sent since `hold`. */
  boolean holdsAnything() {
    return pipes.stream().anyMatch(Pipe::holdsAnything);
  }

  /** Whether the text is among what is held. */
  boolean holds(String text) {
    return pipes.stream().anyMatch(pipe -> pipe.holds(text));
  }

  /**
   * Loses everything that is sent over the connections that are open now, both ways. New ones work.
   */
  void swallow() {
    for (Pipe pipe : pipes) pipe.swallow();
  }

  /**
   * Closes the clients' side of the connections whose bytes are held. The broker does not hear of
   * it.
   */
  void cut() throws IOException {
    for (Pipe pipe : pipes) pipe.cut();
  }

  /**
   * Sends what was held to the broker. Completes when the broker's answers, which the client does
   * not hear, hold the text.
   */
  CompletableFuture<Void> release(String awaited) throws IOException {
    CompletableFuture<Void> answered = new CompletableFuture<>();
    for (Pipe pipe : pipes) pipe.release(awaited, answered);
    return answered;
  }

  @Override
  public void close() {
    try {
      listening.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    for (Pipe pipe : pipes) pipe.close();
  }

  /** One connection of a client, and the one to the broker that stands for it. */
  private static final class Pipe {
    private final Socket near;
    private final Socket far;
    private boolean isHeld;
    private boolean isSwallowed;
    private boolean isCut;
    private final ByteArrayOutputStream held = new ByteArrayOutputStream();
    private final ByteArrayOutputStream answers = new ByteArrayOutputStream();
    private String awaited;
    private CompletableFuture<Void> answered;

    Pipe(Socket near, Socket far) throws IOException {
      this.near = near;
      this.far = far;
      near.setTcpNoDelay(true);
      far.setTcpNoDelay(true);
    }

    void pass(boolean isForward) {
      byte[] bytes = new byte[65_536];
      try {
        for (int n = from(isForward).getInputStream().read(bytes);
            n >= 0;
            n = from(isForward).getInputStream().read(bytes)) {
          if (isForward) forward(bytes, n);
          else backward(bytes, n);
        }
      } catch (IOException closed) {
        // As the end of the stream is.
        closeUnlessSilent();
        return;
      }
      closeUnlessSilent();
    }

    private Socket from(boolean isForward) {
      return isForward ? near : far;
    }

    private synchronized void forward(byte[] bytes, int n) throws IOException {
      if (isSwallowed) return;
      if (isHeld) held.write(bytes, 0, n);
      else far.getOutputStream().write(bytes, 0, n);
    }

    private synchronized void backward(byte[] bytes, int n) throws IOException {
      if (isSwallowed) return;
      if (!isCut) {
        near.getOutputStream().write(bytes, 0, n);
        return;
      }
      answers.write(bytes, 0, n);
      if (answered != null && answers.toString(StandardCharsets.ISO_8859_1).contains(awaited))
        answered.complete(null);
    }

    /** A side that can't be heard any more does not tell the other one that it is gone. */
    private synchronized void closeUnlessSilent() {
      if (!isSwallowed && !isHeld && !isCut) close();
    }

    synchronized void hold() {
      isHeld = true;
    }

    synchronized boolean holds(String text) {
      return held.toString(StandardCharsets.ISO_8859_1).contains(text);
    }

    synchronized boolean holdsAnything() {
      return held.size() > 0;
    }

    synchronized void swallow() {
      isSwallowed = true;
    }

    synchronized void cut() throws IOException {
      if (!isHeld) return;
      isCut = true;
      near.close();
    }

    synchronized void release(String text, CompletableFuture<Void> whenAnswered)
        throws IOException {
      if (!isHeld) return;
      isHeld = false;
      awaited = text;
      answered = whenAnswered;
      far.getOutputStream().write(held.toByteArray());
    }

    void close() {
      try {
        near.close();
        far.close();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }
}
