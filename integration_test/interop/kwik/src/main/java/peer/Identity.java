package peer;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import javax.net.ssl.X509TrustManager;

/** Who this peer is, and who it takes the other one for (section 12). */
record Identity(X509Certificate certificate, PrivateKey key) {
    private static final String BASE32 = "abcdefghijklmnopqrstuvwxyz234567";

    static Identity read(Path certificate, Path key) throws IOException, GeneralSecurityException {
        String pem = Files.readString(key).replaceAll("-----[^-]*-----", "");
        PKCS8EncodedKeySpec spec = new PKCS8EncodedKeySpec(Base64.getMimeDecoder().decode(pem));
        try (InputStream in = Files.newInputStream(certificate)) {
            X509Certificate read = (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(in);
            return new Identity(read, KeyFactory.getInstance("EC").generatePrivate(spec));
        }
    }

    /** The written id of a certificate's key. */
    static String id(X509Certificate certificate) {
        byte[] hash;
        try {
            // Java's encoding of a public key is the SubjectPublicKeyInfo.
            hash = MessageDigest.getInstance("SHA-256").digest(certificate.getPublicKey().getEncoded());
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
        StringBuilder text = new StringBuilder();
        for (int bit = 0; bit < 8 * hash.length; bit += 5) {
            int value = 0;
            for (int i = bit; i < bit + 5; i++) {
                int one = i < 8 * hash.length ? hash[i / 8] >> (7 - i % 8) & 1 : 0;
                value = value << 1 | one;
            }
            text.append(BASE32.charAt(value));
        }
        return text.toString();
    }

    /** Takes any chain whose first key has the id that is expected, and remembers whom it refused. */
    static final class Trust implements X509TrustManager {
        private final String expected;
        volatile String refused;

        Trust(String expected) {
            this.expected = expected;
        }

        @Override
        public void checkServerTrusted(X509Certificate[] chain, String authType) throws CertificateException {
            String id = id(chain[0]);
            if (!id.equalsIgnoreCase(expected)) {
                refused = id;
                throw new CertificateException("the peer is " + id + ", expected " + expected);
            }
        }

        @Override
        public void checkClientTrusted(X509Certificate[] chain, String authType) throws CertificateException {
            checkServerTrusted(chain, authType);
        }

        @Override
        public X509Certificate[] getAcceptedIssuers() {
            return new X509Certificate[0];
        }
    }
}
