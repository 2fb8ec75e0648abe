//! Go's `sort.Sort`.
//!
//! It is not stable, so that rows which compare equal (events of one second, above all) come in an order of its own.
//! kubectl prints that order, and so do we: this is Go's pattern-defeating quicksort, step by step.

/// Sorts by `less`, leaving equal items in the order in which Go leaves them.
pub fn sort<T>(items: &mut [T], less: impl Fn(&T, &T) -> bool) {
    let length = items.len();
    if length > 1 {
        let limit = bits(length);
        Sorter { items, less }.quick(0, length, limit);
    }
}

/// Slices up to here are sorted by insertion.
const INSERTION: usize = 12;
/// From here on, the pivot is the median of three medians.
const NINTHER: usize = 50;
const MOST_SWAPS: usize = 4 * 3;

/// `bits.Len`.
fn bits(value: usize) -> u32 {
    usize::BITS - value.leading_zeros()
}

/// What choosing a pivot told about the order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hint {
    Unknown,
    Increasing,
    Decreasing,
}

struct Sorter<'a, T, F> {
    items: &'a mut [T],
    less: F,
}

impl<T, F: Fn(&T, &T) -> bool> Sorter<'_, T, F> {
    fn less(&self, i: usize, j: usize) -> bool {
        (self.less)(&self.items[i], &self.items[j])
    }

    fn swap(&mut self, i: usize, j: usize) {
        self.items.swap(i, j);
    }

    fn insertion(&mut self, a: usize, b: usize) {
        for i in a + 1..b {
            let mut j = i;
            while j > a && self.less(j, j - 1) {
                self.swap(j, j - 1);
                j -= 1;
            }
        }
    }

    fn sift_down(&mut self, low: usize, high: usize, first: usize) {
        let mut root = low;
        loop {
            let mut child = 2 * root + 1;
            if child >= high {
                return;
            }
            if child + 1 < high && self.less(first + child, first + child + 1) {
                child += 1;
            }
            if !self.less(first + root, first + child) {
                return;
            }
            self.swap(first + root, first + child);
            root = child;
        }
    }

    fn heap(&mut self, a: usize, b: usize) {
        let high = b - a;
        for i in (0..=(high - 1) / 2).rev() {
            self.sift_down(i, high, a);
        }
        for i in (0..high).rev() {
            self.swap(a, a + i);
            self.sift_down(0, i, a);
        }
    }

    fn quick(&mut self, mut a: usize, mut b: usize, mut limit: u32) {
        let mut was_balanced = true;
        let mut was_partitioned = true;
        loop {
            let length = b - a;
            if length <= INSERTION {
                self.insertion(a, b);
                return;
            }
            if limit == 0 {
                self.heap(a, b);
                return;
            }
            if !was_balanced {
                self.break_patterns(a, b);
                limit -= 1;
            }
            let (mut pivot, mut hint) = self.choose_pivot(a, b);
            if hint == Hint::Decreasing {
                self.items[a..b].reverse();
                pivot = (b - 1) - (pivot - a);
                hint = Hint::Increasing;
            }
            if was_balanced
                && was_partitioned
                && hint == Hint::Increasing
                && self.partial_insertion(a, b)
            {
                return;
            }
            if a > 0 && !self.less(a - 1, pivot) {
                a = self.partition_equal(a, b, pivot);
                continue;
            }
            let (middle, partitioned) = self.partition(a, b, pivot);
            was_partitioned = partitioned;
            let (left, right) = (middle - a, b - middle);
            let threshold = length / 8;
            if left < right {
                was_balanced = left >= threshold;
                self.quick(a, middle, limit);
                a = middle + 1;
            } else {
                was_balanced = right >= threshold;
                self.quick(middle + 1, b, limit);
                b = middle;
            }
        }
    }

    fn partition(&mut self, a: usize, b: usize, pivot: usize) -> (usize, bool) {
        self.swap(a, pivot);
        let (mut i, mut j) = (a + 1, b - 1);
        let mut first = true;
        loop {
            while i <= j && self.less(i, a) {
                i += 1;
            }
            while i <= j && !self.less(j, a) {
                j -= 1;
            }
            if i > j {
                self.swap(j, a);
                return (j, first);
            }
            first = false;
            self.swap(i, j);
            i += 1;
            j -= 1;
        }
    }

    fn partition_equal(&mut self, a: usize, b: usize, pivot: usize) -> usize {
        self.swap(a, pivot);
        let (mut i, mut j) = (a + 1, b - 1);
        loop {
            while i <= j && !self.less(a, i) {
                i += 1;
            }
            while i <= j && self.less(a, j) {
                j -= 1;
            }
            if i > j {
                return i;
            }
            self.swap(i, j);
            i += 1;
            j -= 1;
        }
    }

    /// Sorts what is nearly sorted; whether it succeeded.
    fn partial_insertion(&mut self, a: usize, b: usize) -> bool {
        const MOST_STEPS: usize = 5;
        let mut i = a + 1;
        for _ in 0..MOST_STEPS {
            while i < b && !self.less(i, i - 1) {
                i += 1;
            }
            if i == b {
                return true;
            }
            if b - a < NINTHER {
                return false;
            }
            self.swap(i, i - 1);
            if i - a >= 2 {
                for j in (1..i).rev() {
                    if !self.less(j, j - 1) {
                        break;
                    }
                    self.swap(j, j - 1);
                }
            }
            if b - i >= 2 {
                for j in i + 1..b {
                    if !self.less(j, j - 1) {
                        break;
                    }
                    self.swap(j, j - 1);
                }
            }
        }
        false
    }

    fn break_patterns(&mut self, a: usize, b: usize) {
        let length = b - a;
        if length < 8 {
            return;
        }
        let mut random = length as u64;
        let mask = (1_usize << bits(length)) - 1;
        let at = a + (length / 4) * 2 - 1;
        for i in 0..3 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let mut other = random as usize & mask;
            if other >= length {
                other -= length;
            }
            self.swap(at + i, a + other);
        }
    }

    fn choose_pivot(&self, a: usize, b: usize) -> (usize, Hint) {
        let length = b - a;
        let quarter = length / 4;
        let (mut i, mut j, mut k) = (a + quarter, a + quarter * 2, a + quarter * 3);
        let mut swaps = 0;
        if length >= 8 {
            if length >= NINTHER {
                i = self.median(i - 1, i, i + 1, &mut swaps);
                j = self.median(j - 1, j, j + 1, &mut swaps);
                k = self.median(k - 1, k, k + 1, &mut swaps);
            }
            j = self.median(i, j, k, &mut swaps);
        }
        match swaps {
            0 => (j, Hint::Increasing),
            MOST_SWAPS => (j, Hint::Decreasing),
            _ => (j, Hint::Unknown),
        }
    }

    fn ordered(&self, a: usize, b: usize, swaps: &mut usize) -> (usize, usize) {
        if self.less(b, a) {
            *swaps += 1;
            (b, a)
        } else {
            (a, b)
        }
    }

    fn median(&self, a: usize, b: usize, c: usize, swaps: &mut usize) -> usize {
        let (a, b) = self.ordered(a, b, swaps);
        let (b, _) = self.ordered(b, c, swaps);
        let (_, b) = self.ordered(a, b, swaps);
        b
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_sorted() {
        let mut seed = 7_u64;
        for length in [0, 1, 2, 12, 13, 49, 50, 51, 500, 3000] {
            for range in [1, 2, 10, 1_000_000] {
                let mut items: Vec<u64> = (0..length)
                    .map(|_| {
                        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        (seed >> 33) % range
                    })
                    .collect();
                let mut expected = items.clone();
                expected.sort_unstable();
                sort(&mut items, |a, b| a < b);
                assert_eq!(items, expected, "{length} of {range}");
                sort(&mut items, |a, b| a > b);
                expected.reverse();
                assert_eq!(items, expected, "{length} of {range}, backwards");
            }
        }
    }

    #[test]
    fn equal_items_stand_as_in_go() {
        // Printed by Go's own sort, given the same items.
        let check = |length: usize, expected: u64| {
            let mut seed = 7_u64;
            let mut items: Vec<(u64, usize)> = (0..length)
                .map(|at| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    ((seed >> 33) % 3, at)
                })
                .collect();
            sort(&mut items, |a, b| a.0 < b.0);
            let hash = items
                .iter()
                .fold(0_u64, |hash, (_, at)| hash.wrapping_mul(31).wrapping_add(*at as u64));
            assert_eq!(hash, expected, "{length}");
        };
        check(13, 8_111_972_972_980_963_338);
        check(30, 2_323_475_382_745_451_447);
        check(60, 12_033_256_812_143_765_132);
        check(300, 4_981_261_790_411_914_740);
    }

    #[test]
    fn equal_items_of_short_lists_keep_their_order() {
        let mut items: Vec<(u8, usize)> = (0..12).map(|at| (1, at)).collect();
        sort(&mut items, |a, b| a.0 < b.0);
        assert!(items.is_sorted());
    }
}
