package peer;

import static peer.Frame.*;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Objects;

/** Runs the codec through the files of test vectors. */
final class Vectors {
    private static final HexFormat HEX = HexFormat.of();

    /** The first vector that does not hold. */
    static final class Mismatch extends Exception {
        Mismatch(String message) {
            super(message);
        }
    }

    /** One block of lines "key: value". */
    private record Block(List<String[]> lines) {
        String get(String key) {
            return lines.stream().filter(l -> l[0].equals(key)).map(l -> l[1]).findFirst().orElse(null);
        }

        byte[] hex(String key) {
            return unhex(get(key));
        }

        String text(String key) {
            return new String(hex(key), java.nio.charset.StandardCharsets.UTF_8);
        }

        long number(String key) {
            return Long.parseLong(get(key));
        }

        Long numberOrNull(String key) {
            return get(key) == null ? null : Long.valueOf(get(key));
        }
    }

    private static byte[] unhex(String text) {
        return text.equals("-") ? new byte[0] : HEX.parseHex(text);
    }

    /** Returns how many vectors hold. */
    static int run(Path frames, Path datagrams) throws IOException, Mismatch {
        int tried = 0;
        for (Block block : blocks(frames)) {
            try {
                if (block.get("stream") != null) {
                    stream(block);
                } else if (block.get("error") != null) {
                    brokenFrame(block);
                } else {
                    frame(block);
                }
            } catch (Violation v) {
                throw new Mismatch(block.get("name") + ": " + v.getMessage());
            }
            tried++;
        }
        for (Block block : blocks(datagrams)) {
            datagram(block);
            tried++;
        }
        return tried;
    }

    private static List<Block> blocks(Path file) throws IOException {
        List<Block> blocks = new ArrayList<>();
        List<String[]> lines = new ArrayList<>();
        for (String line : Files.readAllLines(file)) {
            if (line.startsWith("#")) {
                continue;
            }
            if (!line.isBlank()) {
                lines.add(line.split(": ", 2));
            } else if (!lines.isEmpty()) {
                blocks.add(new Block(lines));
                lines = new ArrayList<>();
            }
        }
        if (!lines.isEmpty()) {
            blocks.add(new Block(lines));
        }
        return blocks;
    }

    private static void frame(Block block) throws Violation, Mismatch {
        Frame expected = fromFields(block);
        FrameParser parser = new FrameParser();
        List<Frame> read = parser.feed(block.hex("wire"));
        // Records with arrays are equal when what they encode to is; encode writes every field.
        check(block, read.size() == 1 && parser.betweenFrames(), "is read as " + read.size() + " frames");
        check(block, read.get(0).type() == expected.type(), "is read as another type");
        check(block, Arrays.equals(read.get(0).encode(), expected.encode()), "is read as " + read.get(0));
        if (block.get("only") == null) {
            check(block, Arrays.equals(expected.encode(), block.hex("wire")), "is written otherwise");
        }
    }

    private static void brokenFrame(Block block) throws Mismatch {
        FrameParser parser = new FrameParser();
        String found;
        try {
            parser.feed(block.hex("wire"));
            found = parser.betweenFrames() ? "nothing" : "truncated";
        } catch (Violation v) {
            found = v.kind.name().toLowerCase();
        }
        check(block, found.equals(block.get("error")), "error found: " + found);
    }

    private static void stream(Block block) throws Mismatch {
        FrameParser parser = new FrameParser();
        List<String> names = new ArrayList<>();
        String outcome;
        try {
            parser.feed(block.hex("wire"), frame -> names.add(name(frame)));
            outcome = parser.betweenFrames() ? "end" : "truncated";
        } catch (Violation v) {
            outcome = "violation";
        }
        check(block, outcome.equals(block.get("stream")), "outcome: " + outcome);
        String frames = names.isEmpty() ? "-" : String.join(" ", names);
        check(block, frames.equals(block.get("frames")), "frames: " + frames);
    }

    /** SIGNAL_ACK for a SignalAck. */
    static String name(Frame frame) {
        String name = frame.getClass().getSimpleName();
        return name.equals("GoAway") ? "GOAWAY" : name.replaceAll("(?<=.)(?=[A-Z])", "_").toUpperCase();
    }

    private static Frame fromFields(Block b) throws Mismatch {
        return switch (b.get("frame")) {
            case "SETTINGS" -> new Settings(b.get("instance-id") == null ? null : b.hex("instance-id"),
                b.numberOrNull("max-message"), b.numberOrNull("max-signal"), b.numberOrNull("max-signals"),
                b.numberOrNull("window"));
            case "GOAWAY" -> new GoAway(b.number("code"), b.text("reason"), b.number("deadline-ms"),
                b.number("first-refused"));
            case "PING" -> new Ping(b.hex("token"));
            case "PONG" -> new Pong(b.hex("token"));
            case "OPEN" -> new Open(b.text("protocol"), b.hex("metadata"));
            case "ACCEPT" -> new Accept(b.hex("metadata"));
            case "REJECT" -> new Reject(b.number("code"), b.text("reason"), b.number("retry-after-ms"));
            case "SIGNAL" -> new Signal(b.hex("payload"));
            case "SIGNAL_ACK" -> new SignalAck(b.number("taken"));
            case "REPORT" -> new Report(counts(b));
            case "CLOSE" -> new Close(b.number("code"), b.text("reason"), b.number("sent"), b.number("end"),
                b.number("signals-received"), b.number("signals-taken"));
            case "CLOSE_ACK" -> new CloseAck(b.number("sent"), b.number("end"), counts(b),
                b.number("signals-received"), b.number("signals-taken"));
            case "DONE" -> new Done(counts(b));
            default -> throw new Mismatch(b.get("name") + ": unknown frame " + b.get("frame"));
        };
    }

    private static Counts counts(Block b) {
        return new Counts(b.number("received"), b.number("late"), b.number("dropped"));
    }

    private static void datagram(Block block) throws Mismatch {
        String kind = block.get("kind");
        Datagram read;
        try {
            read = Datagram.decode(block.hex("wire"));
        } catch (Datagram.Malformed m) {
            check(block, kind.equals("invalid"), m.getMessage());
            String blamed = m.session < 0 ? "-" : Long.toString(m.session);
            check(block, blamed.equals(block.get("session")), "blames session " + blamed);
            return;
        }
        check(block, !kind.equals("invalid"), "is read as " + read);
        long number = block.number("number");
        check(block, read.number() == number, "number is " + read.number());
        Datagram expected = switch (kind) {
            case "message" -> new Datagram.Message(number, block.number("session"), block.hex("payload"));
            case "bundle" -> new Datagram.Bundle(number, items(block));
            case "fragment" -> new Datagram.Fragment(number, block.number("session"), block.number("message"),
                block.number("total"), block.number("offset"), block.hex("payload"));
            case "heartbeat" -> new Datagram.Heartbeat(number, false, block.hex("token"));
            case "heartbeat-echo" -> new Datagram.Heartbeat(number, true, block.hex("token"));
            case "credit" -> new Datagram.Credit(number, block.number("end"), block.number("taken"));
            case "unknown" -> null;
            default -> throw new Mismatch(block.get("name") + ": unknown kind " + kind);
        };
        if (expected == null) {
            check(block, read instanceof Datagram.Unknown, "is read as " + read);
            return;
        }
        check(block, Objects.equals(read.getClass(), expected.getClass()), "is read as " + read);
        check(block, Arrays.equals(read.encode(), expected.encode()), "is read as " + read);
        if (block.get("only") == null) {
            check(block, Arrays.equals(expected.encode(), block.hex("wire")), "is written otherwise");
        }
    }

    private static List<Datagram.Item> items(Block block) {
        List<Datagram.Item> items = new ArrayList<>();
        for (String[] line : block.lines) {
            if (line[0].equals("item")) {
                String[] parts = line[1].split(" ");
                items.add(new Datagram.Item(Long.parseLong(parts[0]), unhex(parts[1])));
            }
        }
        return items;
    }

    private static void check(Block block, boolean holds, String otherwise) throws Mismatch {
        if (!holds) {
            throw new Mismatch(block.get("name") + ": " + otherwise);
        }
    }
}
