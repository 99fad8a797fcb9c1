//! Buffers for answers that may hold a payload, a token or an API key: wiped when dropped, and when
//! they grow.

use zeroize::{Zeroize, Zeroizing};

/// Appends, without the copy that a growing `Vec` leaves behind in freed memory.
pub(crate) fn append(buffer: &mut Zeroizing<Vec<u8>>, chunk: &[u8]) {
    let needed = buffer.len().saturating_add(chunk.len());
    if needed > buffer.capacity() {
        let capacity = needed.max(buffer.capacity().saturating_mul(2));
        let mut larger = Zeroizing::new(Vec::with_capacity(capacity));
        larger.extend_from_slice(buffer);
        *buffer = larger;
    }
    buffer.extend_from_slice(chunk);
}

/// Wipes a chunk that came from the HTTP library, where this is its last owner. Chunks that
/// share a read buffer cannot be wiped; the library reuses that buffer.
pub(crate) fn wipe(chunk: bytes::Bytes) {
    if let Ok(mut chunk) = chunk.try_into_mut() {
        chunk.as_mut().zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_growing_buffer_keeps_what_it_holds() {
        let mut buffer = Zeroizing::new(Vec::new());
        for n in 0..1000_u16 {
            append(&mut buffer, &n.to_be_bytes());
        }
        let expected: Vec<u8> = (0..1000_u16).flat_map(u16::to_be_bytes).collect();
        assert_eq!(*buffer, expected);
    }
}
