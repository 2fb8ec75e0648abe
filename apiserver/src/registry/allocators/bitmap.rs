//! A set of small numbers from which a free one is found quickly, at random.

/// Which of `len` values are taken.
#[derive(Debug)]
pub(super) struct Bitmap {
    words: Vec<u64>,
    len: usize,
    /// Values below this are picked last.
    band: usize,
}

impl Bitmap {
    pub(super) fn new(len: usize, band: usize) -> Self {
        Self { words: vec![0; len.div_ceil(64)], len, band }
    }

    fn has(&self, offset: usize) -> bool {
        self.words[offset / 64] & (1 << (offset % 64)) != 0
    }

    /// Takes a value; false if it was taken already.
    pub(super) fn set(&mut self, offset: usize) -> bool {
        assert!(offset < self.len, "offset {offset} of {}", self.len);
        let free = !self.has(offset);
        self.words[offset / 64] |= 1 << (offset % 64);
        free
    }

    /// Gives a value back.
    pub(super) fn clear(&mut self, offset: usize) {
        if offset < self.len {
            self.words[offset / 64] &= !(1 << (offset % 64));
        }
    }

    /// Takes a free value: of those above the band if there are any, from a random start.
    pub(super) fn take_any(&mut self, random: u64) -> Option<usize> {
        let upper = self.len - self.band;
        let found = self
            .find(self.band, self.len, random, upper)
            .or_else(|| self.find(0, self.band, random, self.band))?;
        self.set(found);
        Some(found)
    }

    /// The first free value of `from..to`, beginning at a random one and going round.
    fn find(&self, from: usize, to: usize, random: u64, width: usize) -> Option<usize> {
        if width == 0 {
            return None;
        }
        let skip = usize::try_from(random % width as u64).expect("less than a usize");
        let start = from + skip;
        self.first_free(start, to).or_else(|| self.first_free(from, start))
    }

    fn first_free(&self, from: usize, to: usize) -> Option<usize> {
        let mut offset = from;
        while offset < to {
            let word = self.words[offset / 64];
            if word == u64::MAX {
                offset = (offset / 64 + 1) * 64;
            } else if self.has(offset) {
                offset += 1;
            } else {
                return Some(offset);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_band_is_used_last() {
        let mut bitmap = Bitmap::new(200, 30);
        let mut upper: Vec<_> = (0..170).map(|n| bitmap.take_any(n * 7919).unwrap()).collect();
        assert!(upper.iter().all(|offset| *offset >= 30));
        upper.sort_unstable();
        upper.dedup();
        assert_eq!(upper.len(), 170);
        let lower: Vec<_> = (0..30).map(|n| bitmap.take_any(n * 7919).unwrap()).collect();
        assert!(lower.iter().all(|offset| *offset < 30));
        assert_eq!(bitmap.take_any(5), None);
        bitmap.clear(63);
        assert_eq!(bitmap.take_any(0), Some(63));
        assert!(!bitmap.set(63));
    }
}
