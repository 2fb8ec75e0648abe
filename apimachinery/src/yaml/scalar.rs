//! Scalars in print: which style a text gets and how it is written, as libyaml's emitter does under goyaml v2.
//!
//! A text that would be read as something else than a string is double-quoted; several lines become a literal block;
//! the rest is plain, or single-quoted where plain would be misread. Lines longer than [`WIDTH`] break at single
//! spaces. Everything that is not printable in libyaml's eyes (tabs and characters beyond the BMP among them) is
//! escaped in double quotes.

use super::resolve::{Scalar, is_base60_float, resolve};

/// Column after which a line breaks at the next single space.
const WIDTH: usize = 80;
/// Longest key in the short form `key: value`, in bytes.
const SIMPLE_KEY: usize = 128;

/// The text so far, with what the layout rules need to know about its end.
pub(super) struct Writer {
    out: String,
    column: usize,
    /// The last thing written was white space.
    whitespace: bool,
    /// Only indentation (and dashes) stand on this line.
    indention: bool,
}

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { out: String::new(), column: 0, whitespace: true, indention: true }
    }

    pub(super) fn finish(mut self) -> String {
        if !(self.indention && self.column == 0) {
            self.line_break();
        }
        self.out
    }

    fn put(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }

    fn line_break(&mut self) {
        self.out.push('\n');
        self.column = 0;
    }

    /// Goes to a fresh line, unless this one is fresh, and to column `indent`.
    pub(super) fn indent(&mut self, indent: usize) {
        if !self.indention
            || self.column > indent
            || (self.column == indent && !self.whitespace && self.column > 0)
        {
            self.line_break();
        }
        while self.column < indent {
            self.put(' ');
        }
        self.whitespace = true;
        self.indention = true;
    }

    fn space(&mut self) {
        if !self.whitespace {
            self.put(' ');
        }
    }

    /// The dash of a list's item; what follows may stand on the same line.
    pub(super) fn dash(&mut self) {
        self.space();
        self.put('-');
        self.whitespace = false;
    }

    /// An indicator that ends the line's indentation.
    pub(super) fn indicator(&mut self, text: &str) {
        self.space();
        self.plain_chars(text);
    }

    /// A text that needs no quotes.
    pub(super) fn plain(&mut self, text: &str) {
        self.indicator(text);
    }

    fn plain_chars(&mut self, text: &str) {
        text.chars().for_each(|c| self.put(c));
        self.whitespace = false;
        self.indention = false;
    }

    /// A key with its colon; false when it took the long form, `? key` and a line with `:`.
    pub(super) fn key(&mut self, key: &str, indent: usize) -> bool {
        let analysis = Analysis::of(key);
        if !analysis.multiline && key.len() <= SIMPLE_KEY {
            let style = analysis.style(key, true);
            self.styled(key, style, indent + 2, false);
            self.plain_chars(":");
            true
        } else {
            self.space();
            self.put('?');
            self.whitespace = false;
            let style = analysis.style(key, false);
            self.styled(key, style, indent + 2, true);
            self.indent(indent);
            self.put(':');
            self.whitespace = false;
            false
        }
    }

    /// A text as a value; further lines stand at column `indent`.
    pub(super) fn text(&mut self, text: &str, indent: usize) {
        let style = Analysis::of(text).style(text, false);
        self.styled(text, style, indent, true);
    }

    fn styled(&mut self, text: &str, style: Style, indent: usize, fold: bool) {
        match style {
            Style::Plain => self.plain_text(text, indent, fold),
            Style::Single => self.single_quoted(text, indent, fold),
            Style::Double => self.double_quoted(text, indent, fold),
            Style::Literal => self.literal(text, indent),
        }
    }

    fn plain_text(&mut self, text: &str, indent: usize, fold: bool) {
        self.space();
        let chars: Vec<char> = text.chars().collect();
        let mut after_space = false;
        for (i, c) in chars.iter().enumerate() {
            if *c == ' ' {
                let single = !after_space && chars.get(i + 1) != Some(&' ');
                if fold && single && self.column > WIDTH {
                    self.indent(indent);
                } else {
                    self.put(' ');
                }
                after_space = true;
            } else {
                self.put(*c);
                self.indention = false;
                after_space = false;
            }
        }
        self.whitespace = false;
        self.indention = false;
    }

    fn single_quoted(&mut self, text: &str, indent: usize, fold: bool) {
        self.space();
        self.plain_chars("'");
        let chars: Vec<char> = text.chars().collect();
        let mut after_space = false;
        for (i, c) in chars.iter().enumerate() {
            if *c == ' ' {
                let inner = i > 0 && i + 1 < chars.len();
                let single = !after_space && chars.get(i + 1) != Some(&' ');
                if fold && single && inner && self.column > WIDTH {
                    self.indent(indent);
                } else {
                    self.put(' ');
                }
                after_space = true;
            } else {
                if *c == '\'' {
                    self.put('\'');
                }
                self.put(*c);
                self.indention = false;
                after_space = false;
            }
        }
        self.plain_chars("'");
    }

    fn double_quoted(&mut self, text: &str, indent: usize, fold: bool) {
        self.space();
        self.plain_chars("\"");
        let chars: Vec<char> = text.chars().collect();
        let mut after_space = false;
        for (i, c) in chars.iter().enumerate() {
            if is_special(*c) || matches!(c, '\n' | '"' | '\\') {
                self.escape(*c);
                after_space = false;
            } else if *c == ' ' {
                let inner = i > 0 && i + 1 < chars.len();
                if fold && !after_space && inner && self.column > WIDTH {
                    self.indent(indent);
                    if chars[i + 1] == ' ' {
                        self.put('\\');
                    }
                } else {
                    self.put(' ');
                }
                after_space = true;
            } else {
                self.put(*c);
                after_space = false;
            }
        }
        self.plain_chars("\"");
    }

    fn escape(&mut self, c: char) {
        let short = match c {
            '\0' => '0',
            '\u{7}' => 'a',
            '\u{8}' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\u{b}' => 'v',
            '\u{c}' => 'f',
            '\r' => 'r',
            '\u{1b}' => 'e',
            '"' => '"',
            '\\' => '\\',
            '\u{85}' => 'N',
            '\u{a0}' => '_',
            '\u{2028}' => 'L',
            '\u{2029}' => 'P',
            other => {
                let code = other as u32;
                let text = match code {
                    0..=0xff => format!("\\x{code:02X}"),
                    0x100..=0xffff => format!("\\u{code:04X}"),
                    _ => format!("\\U{code:08X}"),
                };
                text.chars().for_each(|c| self.put(c));
                return;
            }
        };
        self.put('\\');
        self.put(short);
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.space();
        self.put('|');
        if text.starts_with(|c| c == ' ' || is_break(c)) {
            self.put('2');
        }
        let mut tail = text.chars().rev();
        match (tail.next().is_some_and(is_break), tail.next()) {
            (false, _) => self.put('-'),
            (true, None) => self.put('+'),
            (true, Some(c)) if is_break(c) => self.put('+'),
            _ => {}
        }
        self.line_break();
        self.indention = true;
        self.whitespace = true;
        let mut after_break = true;
        for c in text.chars() {
            if c == '\n' {
                self.line_break();
                self.indention = true;
                after_break = true;
            } else {
                if after_break {
                    self.indent(indent);
                }
                self.put(c);
                self.indention = false;
                after_break = false;
            }
        }
    }
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// What must be escaped: all that libyaml under goyaml does not count as printable (tabs and what is beyond the BMP
/// among it), and line breaks other than the line feed.
fn is_special(c: char) -> bool {
    let printable = matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}');
    !printable || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}')
}

/// What a text allows: libyaml's `yaml_emitter_analyze_scalar`, for block context.
struct Analysis {
    multiline: bool,
    plain: bool,
    single: bool,
    block: bool,
}

impl Analysis {
    fn of(text: &str) -> Self {
        if text.is_empty() {
            return Self { multiline: false, plain: true, single: true, block: false };
        }
        let mut indicators = text.starts_with("---") || text.starts_with("...");
        let (mut special, mut break_space, mut space_break, mut line_breaks) =
            (false, false, false, false);
        let (mut previous_space, mut previous_break, mut preceded_by_blank) = (false, false, true);
        let mut chars = text.chars().peekable();
        let mut first = true;
        while let Some(c) = chars.next() {
            let followed_by_blank = chars.peek().is_none_or(|n| matches!(n, ' ' | '\t'));
            indicators |= match c {
                ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%'
                | '@' | '`' => first,
                '#' => first || preceded_by_blank,
                '?' | '-' => first && followed_by_blank,
                ':' => followed_by_blank,
                _ => false,
            };
            special |= is_special(c);
            break_space |= c == ' ' && previous_break;
            space_break |= is_break(c) && previous_space;
            line_breaks |= is_break(c);
            previous_space = c == ' ';
            previous_break = is_break(c);
            preceded_by_blank = matches!(c, ' ' | '\t' | '\0') || is_break(c);
            first = false;
        }
        let blank = |c: char| c == ' ' || is_break(c);
        let outer = text.starts_with(blank) || text.ends_with(blank);
        Self {
            multiline: line_breaks,
            plain: !(indicators || outer || break_space || space_break || special || line_breaks),
            single: !(break_space || space_break || special),
            block: !(text.ends_with(' ') || space_break || special),
        }
    }

    /// The style that goyaml asks for and libyaml then settles on.
    fn style(&self, text: &str, simple_key: bool) -> Style {
        let readable_as_text = match resolve(text) {
            Scalar::Str => !is_base60_float(text),
            // Only a key means a merge.
            Scalar::Merge => !simple_key,
            _ => false,
        };
        let wanted = if text.contains('\n') {
            Style::Literal
        } else if readable_as_text {
            Style::Plain
        } else {
            Style::Double
        };
        match wanted {
            _ if simple_key && self.multiline => Style::Double,
            Style::Plain if self.plain => Style::Plain,
            Style::Plain if self.single => Style::Single,
            Style::Literal if self.block && !simple_key => Style::Literal,
            _ => Style::Double,
        }
    }
}
