//! Masking (RFC 6455, section 5.3): each payload byte is combined with the key byte of its position.

/// Masks or unmasks `data`, whose first byte is at position `offset` of the payload.
pub(super) fn apply(data: &mut [u8], key: [u8; 4], offset: usize) {
    let mut key = key;
    key.rotate_left(offset % 4);
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = data.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_definition_at_every_length_and_offset() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for offset in 0..9 {
            for len in 0..70 {
                let plain: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
                let expected: Vec<u8> = plain
                    .iter()
                    .enumerate()
                    .map(|(i, byte)| byte ^ key[(i + offset) % 4])
                    .collect();
                let mut masked = plain;
                apply(&mut masked, key, offset);
                assert_eq!(masked, expected, "offset {offset}, length {len}");
            }
        }
    }
}
