package dev.sluice.client;

import io.grpc.netty.shaded.io.grpc.netty.GrpcSslContexts;
import io.grpc.netty.shaded.io.netty.bootstrap.Bootstrap;
import io.grpc.netty.shaded.io.netty.bootstrap.ServerBootstrap;
import io.grpc.netty.shaded.io.netty.channel.Channel;
import io.grpc.netty.shaded.io.netty.channel.ChannelFutureListener;
import io.grpc.netty.shaded.io.netty.channel.ChannelHandlerContext;
import io.grpc.netty.shaded.io.netty.channel.ChannelInboundHandlerAdapter;
import io.grpc.netty.shaded.io.netty.channel.ChannelInitializer;
import io.grpc.netty.shaded.io.netty.channel.ChannelOption;
import io.grpc.netty.shaded.io.netty.channel.EventLoopGroup;
import io.grpc.netty.shaded.io.netty.channel.nio.NioEventLoopGroup;
import io.grpc.netty.shaded.io.netty.channel.socket.nio.NioServerSocketChannel;
import io.grpc.netty.shaded.io.netty.channel.socket.nio.NioSocketChannel;
import io.grpc.netty.shaded.io.netty.handler.ssl.ClientAuth;
import io.grpc.netty.shaded.io.netty.handler.ssl.SslContext;
import io.grpc.netty.shaded.io.netty.handler.ssl.SslContextBuilder;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import javax.net.ssl.SSLException;

/** A proxy before a broker that terminates TLS and forwards the bytes. */
final class TlsProxy implements AutoCloseable {
  private final EventLoopGroup loop = new NioEventLoopGroup(1);
  private final Channel listening;

  TlsProxy(String target, Path cert, Path key, Path ca) throws SSLException {
    SslContext tls =
        GrpcSslContexts.configure(SslContextBuilder.forServer(cert.toFile(), key.toFile()))
            .trustManager(ca.toFile())
            .clientAuth(ClientAuth.REQUIRE)
            .build();
    String host = target.substring(0, target.lastIndexOf(':'));
    int port = Integer.parseInt(target.substring(host.length() + 1));
    listening =
        new ServerBootstrap()
            .group(loop)
            .channel(NioServerSocketChannel.class)
            // Reads only after the connection to the broker is open.
            .childOption(ChannelOption.AUTO_READ, false)
            .childHandler(
                new ChannelInitializer<Channel>() {
                  @Override
                  protected void initChannel(Channel client) {
                    client.pipeline().addLast(tls.newHandler(client.alloc()));
                    join(client, host, port);
                  }
                })
            .bind("127.0.0.1", 0)
            .syncUninterruptibly()
            .channel();
  }

  private void join(Channel client, String host, int port) {
    new Bootstrap()
        .group(loop)
        .channel(NioSocketChannel.class)
        .handler(new Relay(client))
        .connect(host, port)
        .addListener(
            (ChannelFutureListener)
                connected -> {
                  if (!connected.isSuccess()) {
                    client.close();
                    return;
                  }
                  client.pipeline().addLast(new Relay(connected.channel()));
                  client.config().setAutoRead(true);
                });
  }

  String address() {
    return "127.0.0.1:" + ((InetSocketAddress) listening.localAddress()).getPort();
  }

  @Override
  public void close() {
    listening.close().syncUninterruptibly();
    loop.shutdownGracefully();
  }

  /** Forwards the bytes, and closes the other side when this side closes. */
  private static final class Relay extends ChannelInboundHandlerAdapter {
    private final Channel other;

    Relay(Channel other) {
      this.other = other;
    }

    @Override
    public void channelRead(ChannelHandlerContext context, Object bytes) {
      other.writeAndFlush(bytes);
    }

    @Override
    public void channelInactive(ChannelHandlerContext context) {
      other.close();
    }

    @Override
    public void exceptionCaught(ChannelHandlerContext context, Throwable handshakeFailed) {
      context.close();
    }
  }
}
