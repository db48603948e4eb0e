package peer;

import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import tech.kwik.core.KwikVersion;

/** The program: its arguments, and its one line of output. */
public final class Main {
    private static final int OK = 0, FAILED = 1, USAGE = 2, IMPOSSIBLE = 3;
    private static final List<String> OPTIONS = List.of("role", "case", "address", "cert", "key", "peer-id");
    /** When the program ends by itself, if a call of kwik's does not return. */
    private static final long LAST_MS = 500;

    private Main() {
    }

    public static void main(String[] args) {
        if (args.length == 1 && args[0].equals("--version")) {
            Map<String, Object> version = new LinkedHashMap<>();
            version.put("stack", "kwik");
            version.put("version", KwikVersion.getVersion());
            version.put("language", "Java");
            end(OK, version);
        }
        if (args.length == 3 && args[0].equals("vectors")) {
            vectors(Path.of(args[1]), Path.of(args[2]));
        }
        Map<String, String> options = options(args);
        String role = options.get("role");
        String name = options.get("case");
        boolean dial = "dial".equals(role);
        String[] address = options.getOrDefault("address", "").split(":");
        if (!options.keySet().containsAll(OPTIONS) || !dial && !"listen".equals(role) || !Cases.exists(dial, name)
                || address.length != 2 || !address[1].matches("[0-9]{1,5}")) {
            usage();
        }
        Map<String, Object> result = new LinkedHashMap<>();
        result.put("case", name);
        String impossible = Cases.impossible(dial, name);
        if (impossible != null) {
            result.put("ok", false);
            result.put("impossible", impossible);
            end(IMPOSSIBLE, result);
        }
        play(options, dial, address, result);
    }

    private static void play(Map<String, String> options, boolean dial, String[] address, Map<String, Object> result) {
        // kwik warns on standard output that it checks no certificate; Identity.Trust does.
        System.setProperty("tech.kwik.core.no-security-warnings", "true");
        Waits waits = new Waits();
        watch(waits, result);
        String why = null;
        Cases cases = null;
        try {
            Identity identity = Identity.read(Path.of(options.get("cert")), Path.of(options.get("key")));
            cases = new Cases(waits, options.get("case"), dial, identity, options.get("peer-id"));
            int port = Integer.parseInt(address[1]);
            InetSocketAddress at = new InetSocketAddress(InetAddress.getByName(address[0]), port);
            if (dial) {
                cases.dial(at);
            } else {
                cases.listen(at);
            }
        } catch (Waits.Failure failure) {
            why = failure.getMessage();
        } catch (Exception e) {
            e.printStackTrace();
            why = e.toString();
        }
        try {
            if (cases != null) {
                cases.link.finish();
            }
        } catch (InterruptedException e) {
            // Nothing interrupts this thread.
            throw new IllegalStateException(e);
        }
        result.put("ok", why == null);
        if (why != null) {
            result.put("why", why);
        }
        result.put("sessions", cases == null ? List.of() : cases.link.report());
        end(why == null ? OK : FAILED, result);
    }

    private static void watch(Waits waits, Map<String, Object> result) {
        Thread watchdog = new Thread(() -> {
            try {
                Thread.sleep(waits.leftMs() + LAST_MS);
            } catch (InterruptedException e) {
                return;
            }
            Map<String, Object> late = new LinkedHashMap<>();
            late.put("case", result.get("case"));
            late.put("ok", false);
            late.put("why", "hung in a call of kwik's while it waited for " + waits.what);
            end(FAILED, late);
        }, "watchdog");
        watchdog.setDaemon(true);
        watchdog.start();
    }

    private static void vectors(Path frames, Path datagrams) {
        Map<String, Object> result = new LinkedHashMap<>();
        try {
            int tried = Vectors.run(frames, datagrams);
            result.put("ok", true);
            result.put("tried", tried);
            end(OK, result);
        } catch (Vectors.Mismatch | java.io.IOException | RuntimeException e) {
            result.put("ok", false);
            result.put("why", String.valueOf(e.getMessage()));
            end(FAILED, result);
        }
    }

    private static Map<String, String> options(String[] args) {
        Map<String, String> options = new HashMap<>();
        for (int i = 0; i < args.length; i += 2) {
            String option = args[i].startsWith("--") ? args[i].substring(2) : "";
            if (!OPTIONS.contains(option) || i + 1 == args.length || options.put(option, args[i + 1]) != null) {
                usage();
            }
        }
        return options;
    }

    private static void usage() {
        System.err.println("usage: peer --version | vectors FRAMES DATAGRAMS | --role dial|listen --case CASE "
            + "--address ADDRESS --cert FILE --key FILE --peer-id ID");
        Runtime.getRuntime().halt(USAGE);
    }

    /** Prints the line and ends the program, whatever threads kwik has left. */
    private static synchronized void end(int status, Map<String, Object> line) {
        System.out.println(Json.of(line));
        System.out.flush();
        Runtime.getRuntime().halt(status);
    }
}
