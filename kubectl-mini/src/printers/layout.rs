//! Columns side by side, as kubectl's tables stand: three spaces between, at least six characters each, and the last
//! column as it is. Widths only grow, so that rows which come later (a watch) stay below the earlier ones.

use tabled::{
    builder::Builder,
    settings::{Alignment, Padding, Style},
};

const PADDING: usize = 3;
const LEAST: usize = 6;

/// Rows that wait to be printed, and the widths of those that were.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    rows: Vec<Vec<String>>,
    widths: Vec<usize>,
}

impl Layout {
    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Whether no row waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The text of the rows that wait.
    pub fn flush(&mut self) -> String {
        let rows = std::mem::take(&mut self.rows);
        for row in &rows {
            let aligned = row.len().saturating_sub(1);
            if self.widths.len() < aligned {
                self.widths.resize(aligned, LEAST);
            }
            for (width, cell) in self.widths.iter_mut().zip(&row[..aligned]) {
                *width = (*width).max(cell.chars().count() + PADDING);
            }
        }
        let mut aligned = Builder::default();
        let mut last = Vec::with_capacity(rows.len());
        for mut row in rows {
            last.push(row.pop().unwrap_or_default());
            // tabled makes every column as wide as its widest cell: one that is as wide as it shall be.
            aligned.push_record(
                row.into_iter().zip(&self.widths).map(|(cell, width)| format!("{cell:<width$}")),
            );
        }
        let mut table = aligned.build();
        table.with((Style::empty(), Padding::zero(), Alignment::left()));
        let text = table.to_string();
        let mut lines = text.lines();
        last.iter().fold(String::new(), |mut out, last| {
            out.push_str(lines.next().unwrap_or_default());
            out.push_str(last);
            out.push('\n');
            out
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_as_kubectls() {
        let mut layout = Layout::default();
        let mut check = |rows: &[&[&str]], expected: &str| {
            for row in rows {
                layout.row(row.iter().map(|cell| (*cell).to_owned()).collect());
            }
            assert_eq!(layout.flush(), expected);
        };
        check(&[&["NAME", "A", "AGE"], &["web", "", "5s"]], "NAME   A     AGE\nweb          5s\n");
        check(&[&["longer", "1/1", ""]], "longer   1/1   \n");
        check(&[&["x", "y", "z"]], "x        y     z\n");
        check(&[], "");
    }

    #[test]
    fn a_single_column_stands_alone() {
        let mut layout = Layout::default();
        layout.row(vec!["NAME".to_owned()]);
        layout.row(vec!["x".to_owned()]);
        assert_eq!(layout.flush(), "NAME\nx\n");
    }
}
