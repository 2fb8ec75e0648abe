//! The random end of generated names.

use component_base::clock::Clock;

/// Without vowels and look-alikes, as Kubernetes draws it.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// So many letters.
pub(crate) const SUFFIX_LENGTH: usize = 5;

/// Draws one.
#[must_use]
pub(crate) fn random_suffix(clock: &Clock) -> String {
    let (mut random, letters) = (clock.random_u64(), ALPHABET.len() as u64);
    let mut suffix = String::with_capacity(SUFFIX_LENGTH);
    for _ in 0..SUFFIX_LENGTH {
        suffix.push(char::from(ALPHABET[(random % letters) as usize]));
        random /= letters;
    }
    suffix
}
