//! Ids: the SHA-256 of a certificate's SubjectPublicKeyInfo, and how they are written.

use sha2::{Digest, Sha256};

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The id of a certificate in DER.
pub fn id_of(certificate: &[u8]) -> Option<[u8; 32]> {
    Some(Sha256::digest(public_key_info(certificate)?).into())
}

/// Reads a written id, in either case.
pub fn parse(text: &str) -> Option<[u8; 32]> {
    if text.len() != 52 {
        return None;
    }
    let mut id = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for c in text.to_ascii_lowercase().bytes() {
        bits = bits << 5 | ALPHABET.iter().position(|&a| a == c)? as u32;
        count += 5;
        if count >= 8 {
            count -= 8;
            id.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    // Four bits are left over, and they are zero.
    if bits != 0 {
        return None;
    }
    id.try_into().ok()
}

/// Finds SubjectPublicKeyInfo: Certificate and TBSCertificate are sequences, and in the latter it comes after an optional
/// version, the serial number, signature algorithm, issuer, validity and subject (RFC 5280, section 4.1).
fn public_key_info(certificate: &[u8]) -> Option<&[u8]> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut rest, _) = element(certificate)?;
    if rest.first() == Some(&0xa0) {
        rest = element(rest)?.2;
    }
    for _ in 0..5 {
        rest = element(rest)?.2;
    }
    Some(element(rest)?.0)
}

/// Splits the first DER element off: the whole of it, its content, and what follows.
fn element(der: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let first = *der.get(1)? as usize;
    let (mut length, mut header) = (first, 2);
    if first >= 0x80 {
        let octets = first & 0x7f;
        if octets == 0 || octets > 4 {
            return None;
        }
        header += octets;
        length = der.get(2..header)?.iter().fold(0, |n, &b| n << 8 | b as usize);
    }
    let end = header.checked_add(length)?;
    Some((der.get(..end)?, der.get(header..end)?, &der[end..]))
}

#[cfg(test)]
mod tests {
    #[test]
    fn written_ids() {
        let id = super::parse("AAAQEAYEAUDAOCAJBIFQYDIOB4IBCEQTCQKRMFYYDENBWHA5dypq").unwrap();
        assert_eq!(id.to_vec(), (0..32).collect::<Vec<u8>>());
        assert_eq!(super::parse("aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypr"), None);
        assert_eq!(super::parse("aaaq"), None);
    }
}
