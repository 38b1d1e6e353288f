package dev.sluice.interop;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import dev.sluice.client.Message;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;

/** The cases of cases.json. */
final class Cases {
  private Cases() {}

  /** The messages of a case, in order. */
  static List<Message> messagesOf(Path file, String name) throws IOException {
    JsonObject all = JsonParser.parseString(Files.readString(file)).getAsJsonObject();
    for (JsonElement element : all.getAsJsonArray("cases")) {
      JsonObject found = element.getAsJsonObject();
      if (!found.get("name").getAsString().equals(name)) continue;
      return found.has("messages")
          ? listed(found.getAsJsonArray("messages"))
          : sequence(found.getAsJsonObject("sequence"));
    }
    throw new IllegalArgumentException("there is no case " + name + " in " + file);
  }

  private static List<Message> listed(JsonArray messages) {
    List<Message> list = new ArrayList<>();
    for (JsonElement element : messages) {
      JsonObject message = element.getAsJsonObject();
      Message.Builder builder = Message.builder();
      if (message.has("key")) builder.key(bytes(message.getAsJsonObject("key")));
      if (message.has("payload")) builder.payload(bytes(message.getAsJsonObject("payload")));
      if (message.has("eventTime"))
        builder.eventTime(Instant.parse(message.get("eventTime").getAsString()));
      if (message.has("headers")) {
        for (Map.Entry<String, JsonElement> header :
            message.getAsJsonObject("headers").entrySet()) {
          builder.header(header.getKey(), header.getValue().getAsString());
        }
      }
      list.add(builder.build());
    }
    return list;
  }

  private static List<Message> sequence(JsonObject sequence) {
    int count = sequence.get("count").getAsInt();
    int keys = sequence.get("keys").getAsInt();
    String format = "%0" + sequence.get("payloadBytes").getAsInt() + "d";
    List<Message> list = new ArrayList<>(count);
    for (int i = 0; i < count; i++) {
      String index = Integer.toString(i);
      list.add(
          Message.builder()
              .key("key-" + i % keys)
              .header("index", index)
              .payload(String.format(format, i))
              .build());
    }
    return list;
  }

  private static byte[] bytes(JsonObject description) {
    if (description.has("text"))
      return description.get("text").getAsString().getBytes(StandardCharsets.UTF_8);
    if (description.has("base64"))
      return Base64.getDecoder().decode(description.get("base64").getAsString());
    byte[] piece = bytes(description.getAsJsonObject("repeat"));
    int count = description.get("count").getAsInt();
    ByteArrayOutputStream all = new ByteArrayOutputStream(piece.length * count);
    for (int i = 0; i < count; i++) all.writeBytes(piece);
    return all.toByteArray();
  }
}
