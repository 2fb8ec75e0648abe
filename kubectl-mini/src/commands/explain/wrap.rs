//! Breaks lines between words, as the library of kubectl does: no word is cut, line breaks stay.

/// Breaks lines that are longer than `limit` characters.
pub(super) fn wrap(limit: usize, text: &str) -> String {
    let mut lines =
        Lines { limit, out: String::new(), used: 0, word: Run::default(), space: Run::default() };
    for character in text.chars() {
        lines.take(character);
    }
    lines.finish()
}

/// Characters that wait for their place.
#[derive(Default)]
struct Run {
    text: String,
    length: usize,
}

impl Run {
    fn push(&mut self, character: char) {
        self.text.push(character);
        self.length += 1;
    }

    fn is_empty(&self) -> bool {
        self.length == 0
    }

    fn clear(&mut self) {
        self.text.clear();
        self.length = 0;
    }
}

struct Lines {
    limit: usize,
    out: String,
    /// Characters of the current line.
    used: usize,
    word: Run,
    space: Run,
}

impl Lines {
    fn take(&mut self, character: char) {
        match character {
            '\n' => {
                self.end_of_line();
                self.out.push('\n');
                self.used = 0;
            }
            '\u{a0}' => self.letter(character),
            space if space.is_whitespace() => {
                if self.space.is_empty() || !self.word.is_empty() {
                    self.place();
                }
                self.space.push(space);
            }
            letter => self.letter(letter),
        }
    }

    fn letter(&mut self, letter: char) {
        self.word.push(letter);
        let too_long = self.used + self.space.length + self.word.length > self.limit;
        if too_long && self.word.length < self.limit {
            self.out.push('\n');
            self.used = 0;
            self.space.clear();
        }
    }

    /// Puts the waiting space and word on the line.
    fn place(&mut self) {
        self.used += self.space.length + self.word.length;
        self.out.push_str(&self.space.text);
        self.out.push_str(&self.word.text);
        self.space.clear();
        self.word.clear();
    }

    fn end_of_line(&mut self) {
        if self.word.is_empty() && self.used + self.space.length > self.limit {
            self.space.clear();
        }
        self.place();
    }

    fn finish(mut self) -> String {
        self.end_of_line();
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_whole_and_breaks_stay() {
        let check = |text: &str, expected: &str| assert_eq!(wrap(10, text), expected, "{text}");
        check("one two three four", "one two\nthree four");
        check("a\n\nb", "a\n\nb");
        check("averyveryverylongword x", "averyveryverylongword\nx");
        check("0123456789 ", "0123456789");
        check("abc  def", "abc  def");
        check("", "");
    }
}
