//! Go's `text/tabwriter`, as `kubectl describe` and its like use it: cells end with tabs, and a column is as wide as its
//! widest cell in a run of lines that have it. A line's last cell belongs to no column, so that nothing follows it.

/// Aligns the cells of `text`; columns are at least `least` wide and `padding` apart.
#[must_use]
pub fn align(text: &str, least: usize, padding: usize) -> String {
    let lines: Vec<Vec<&str>> = text.split('\n').map(|line| line.split('\t').collect()).collect();
    let mut writer = Writer { lines, least, padding, widths: Vec::new(), out: String::new() };
    writer.format(0, writer.lines.len());
    writer.out
}

struct Writer<'a> {
    lines: Vec<Vec<&'a str>>,
    least: usize,
    padding: usize,
    /// Of the columns to the left of the one that is being formatted.
    widths: Vec<usize>,
    out: String,
}

impl Writer<'_> {
    fn format(&mut self, mut from: usize, to: usize) {
        let column = self.widths.len();
        let has_column = |line: &[&str]| column + 1 < line.len();
        let mut at = from;
        while at < to {
            if !has_column(&self.lines[at]) {
                at += 1;
                continue;
            }
            self.write(from, at);
            from = at;
            let mut width = self.least;
            while at < to && has_column(&self.lines[at]) {
                width = width.max(self.lines[at][column].chars().count() + self.padding);
                at += 1;
            }
            self.widths.push(width);
            self.format(from, at);
            self.widths.pop();
            from = at;
        }
        self.write(from, to);
    }

    fn write(&mut self, from: usize, to: usize) {
        for at in from..to {
            for (index, cell) in self.lines[at].iter().enumerate() {
                match self.widths.get(index) {
                    Some(&width) if index + 1 < self.lines[at].len() => {
                        self.out.push_str(cell);
                        let pad = width.saturating_sub(cell.chars().count());
                        self.out.extend(std::iter::repeat_n(' ', pad));
                    }
                    _ => self.out.push_str(cell),
                }
            }
            if at + 1 < self.lines.len() {
                self.out.push('\n');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_aligned_as_in_go() {
        let check = |text: &str, expected: &str| assert_eq!(align(text, 0, 2), expected);
        check("Name:\tweb\nNamespace:\tdefault\n", "Name:       web\nNamespace:  default\n");
        check("a\tb\tc\nlong\tx\ty\n", "a     b  c\nlong  x  y\n");
        // A line without the column ends the run.
        check("a\tb\nplain\nlonger\tc\n", "a  b\nplain\nlonger  c\n");
        check(
            "Labels:\ta=b\n\tc=d\nEvents:\t<none>\n",
            "Labels:  a=b\n         c=d\nEvents:  <none>\n",
        );
        check(
            "  Type\tReason\tAge\n  ----\t------\t----\n",
            "  Type  Reason  Age\n  ----  ------  ----\n",
        );
        check("", "");
    }
}
