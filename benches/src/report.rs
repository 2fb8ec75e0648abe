//! Rows of measured value, bound and verdict.

use std::fmt::Write as _;

/// What a figure is held to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// It is only told.
    None,
}

impl Bound {
    fn holds(self, value: f64) -> Option<bool> {
        match self {
            Self::AtMost(bound) => Some(value <= bound),
            Self::AtLeast(bound) => Some(value >= bound),
            Self::None => None,
        }
    }

    fn better(self, a: f64, b: f64) -> bool {
        match self {
            Self::AtLeast(_) => a > b,
            Self::AtMost(_) | Self::None => a < b,
        }
    }
}

/// All rows of a run.
#[derive(Default)]
pub(crate) struct Report {
    held: usize,
    missed: Vec<String>,
}

impl Report {
    /// Starts a group of rows.
    pub(crate) fn section(&self, title: &str) {
        println!("\n{title}");
    }

    /// Adds a figure measured once.
    pub(crate) fn row(&mut self, what: &str, value: f64, unit: &str, bound: Bound) {
        self.best(what, &[value], unit, bound);
    }

    /// Adds a figure measured in several rounds, the best of which counts.
    pub(crate) fn best(&mut self, what: &str, rounds: &[f64], unit: &str, bound: Bound) {
        let Some(best) =
            rounds.iter().copied().reduce(|a, b| if bound.better(b, a) { b } else { a })
        else {
            return;
        };
        let verdict = match bound.holds(best) {
            Some(true) => {
                self.held += 1;
                "ok  "
            }
            Some(false) => {
                self.missed.push(what.to_owned());
                "MISS"
            }
            None => "    ",
        };
        let mut line = format!("{verdict} {what:<58} {:>10} {unit:<8}", number(best));
        match bound {
            Bound::AtMost(bound) => _ = write!(line, " (at most {})", number(bound)),
            Bound::AtLeast(bound) => _ = write!(line, " (at least {})", number(bound)),
            Bound::None => {}
        }
        if rounds.len() > 1 {
            let all: Vec<String> = rounds.iter().map(|value| number(*value)).collect();
            _ = write!(line, " rounds: {}", all.join(" "));
        }
        println!("{}", line.trim_end());
    }

    /// Says something besides.
    pub(crate) fn note(&self, text: &str) {
        println!("     {text}");
    }

    /// The last lines.
    pub(crate) fn finish(&self) {
        println!("\n{} of {} bounds hold", self.held, self.held + self.missed.len());
        for what in &self.missed {
            println!("  missed: {what}");
        }
    }
}

/// With a thousands separator when large, with decimals when small.
fn number(value: f64) -> String {
    if value.abs() < 100.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        let check = |value, expected: &str| assert_eq!(number(value), expected);
        check(1.5, "1.50");
        check(0.004, "0.00");
        check(123.4, "123");
        check(12_345.6, "12,346");
        check(1_234_567.0, "1,234,567");
    }
}
