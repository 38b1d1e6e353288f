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
 * A proxy before a broker. It can hold the bytes that clients send on the present connections and
 * send them later, like a network with delayed packets. It can also drop all bytes, like a network
 * that was cut.
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
      // The test has ended.
      return;
    }
  }

  /** Holds the bytes that clients send from now on over the connections that are open now. */
  void hold() {
    for (Pipe pipe : pipes) pipe.hold();
  }

  /** Closes new connections at once, or accepts them again. */
  void refuse(boolean isRefused) {
    isRefusing = isRefused;
  }

  /** Whether a client has sent bytes since `hold`. */
  boolean holdsAnything() {
    return pipes.stream().anyMatch(Pipe::holdsAnything);
  }

  /** Whether the held bytes contain the text. */
  boolean holds(String text) {
    return pipes.stream().anyMatch(pipe -> pipe.holds(text));
  }

  /**
   * Drops all bytes of the connections that are open now, in both directions. New connections work.
   */
  void swallow() {
    for (Pipe pipe : pipes) pipe.swallow();
  }

  /** Closes the side of the clients of the held connections. The broker does not notice it. */
  void cut() throws IOException {
    for (Pipe pipe : pipes) pipe.cut();
  }

  /**
   * Sends the held bytes to the broker. Completes when the answers of the broker, which the client
   * does not receive, contain the text.
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

  /** A connection of a client, and its connection to the broker. */
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
        // An error is the end of the stream, too.
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

    /**
     * Closes both sides, unless bytes are held or dropped: then one side must not notice the end.
     */
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
