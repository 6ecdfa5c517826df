// Wrote kinds.ser, one content of every kind: `javac Kinds.java && java Kinds`.
import java.io.*;
import java.util.*;

public class Kinds {
    enum Letter {
        A,
        B { int value() { return 1; } };
        int value() { return 0; }
    }

    static class Node implements Serializable {
        Object next;
        long l = 5;
        char c = 'x';
        short s = -3;
        boolean z = true;
        byte b = -7;
        float f = 1.5f;
        int[] a = {1, -2};
        String[][] ss = {{"p", null}, {"q"}};
    }

    public static void main(String[] args) throws Exception {
        try (var out = new ObjectOutputStream(new FileOutputStream("kinds.ser"))) {
            out.writeUTF("Data");
            out.writeInt(7);
            out.writeObject(List.of(1, "two", 3.0));
            out.writeObject(Map.of("k", 1));
            out.writeObject(new TreeMap<>(Map.of("a", 1, "b", 2)));
            var linked = new LinkedHashMap<String, Object>();
            linked.put("z", true);
            linked.put("y", null);
            out.writeObject(linked);
            out.writeObject(Collections.unmodifiableList(new LinkedList<>(List.of("u"))));
            out.writeObject(Arrays.asList("r", "s"));
            out.writeObject(Collections.singletonMap("sk", "sv"));
            out.writeObject(Collections.synchronizedMap(new HashMap<>(Map.of("h", "i"))));
            out.writeObject(Letter.A);
            out.writeObject(Letter.B);
            out.writeObject(String.class);
            var node = new Node();
            node.next = node;
            out.writeObject(node);
            out.writeObject(node);
            out.writeObject("x".repeat(70000));
            out.writeObject("nul\0 \uD83D\uDE00 é 坏");
            out.reset();
            out.writeObject("after reset");
            out.write(new byte[3000]);
            out.writeObject(Set.of(1));
            out.writeObject(new Date(5));
            out.writeObject(UUID.fromString("072bd884-5a3c-3787-acac-e030641d84d9"));
            out.writeObject("EOF");
        }
    }
}
