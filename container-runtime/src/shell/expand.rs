//! Words to fields: quoting, `$` expansions, field splitting, pathname expansion.
//!
//! A word's pieces are pushed into [`Fields`] one after the other. Each field is kept twice: as text,
//! and as the pattern it is for pathname expansion, `case` or `${x%…}`, where quoted characters are
//! escaped.

use brush_parser::ast::Word;
use brush_parser::word::{
    BraceExpressionMember, BraceExpressionOrText, Parameter, ParameterExpr, SpecialParameter,
    WordPiece, WordPieceWithSource,
};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::parse;
use super::pattern::{self, Pattern};
use super::state::{Shell, Stop};
use crate::stdio::Output;

/// Longest text that one word expands to, and the most that a substitution gives.
const EXPANSION_LIMIT: usize = 4 * 1024 * 1024;
/// Most words that braces or patterns expand to.
const MAX_WORDS: usize = 65_536;

/// Why a word could not be expanded.
#[derive(Debug)]
pub(super) enum Failure {
    /// To be printed; it ends a script.
    Message(String),
    /// Printed already.
    Stop(Stop),
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Message(message)
    }
}

impl From<&str> for Failure {
    fn from(message: &str) -> Self {
        Self::Message(message.to_owned())
    }
}

pub(super) type Expanded<T> = Result<T, Failure>;

/// A field under construction.
#[derive(Clone, Debug, Default)]
pub(super) struct Field {
    pub(super) text: String,
    pub(super) pattern: String,
    special: bool,
}

/// The fields of one word.
#[derive(Debug, Default)]
pub(super) struct Fields {
    done: Vec<Field>,
    open: Option<Field>,
    /// Characters to split at; `None` keeps everything in one field.
    separators: Option<String>,
    size: usize,
}

impl Fields {
    pub(super) fn splitting(&self) -> bool {
        self.separators.is_some()
    }

    fn grow(&mut self, by: usize) -> Expanded<&mut Field> {
        self.size += by;
        if self.size > EXPANSION_LIMIT || self.done.len() > MAX_WORDS {
            return Err("expansion too long".into());
        }
        Ok(self.open.get_or_insert_default())
    }

    /// Quoted text, or text that was written as it is.
    pub(super) fn quoted(&mut self, text: &str) -> Expanded<()> {
        let field = self.grow(text.len())?;
        field.text.push_str(text);
        field.pattern.push_str(&pattern::escape(text));
        Ok(())
    }

    /// Unquoted text of the script.
    fn literal(&mut self, text: &str) -> Expanded<()> {
        let field = self.grow(text.len())?;
        field.text.push_str(text);
        field.pattern.push_str(text);
        field.special |= text.contains(['*', '?', '[']);
        Ok(())
    }

    /// The unquoted result of an expansion: it is split.
    pub(super) fn expanded(&mut self, text: &str) -> Expanded<()> {
        let Some(separators) = self.separators.clone() else { return self.literal(text) };
        let is_space = |char: char| char.is_ascii_whitespace() && separators.contains(char);
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(|char| separators.contains(char)).unwrap_or(rest.len());
            if end > 0 {
                self.literal(&rest[..end])?;
            }
            rest = &rest[end..];
            if rest.is_empty() {
                break;
            }
            // One separator: white space around at most one other character.
            let spaces = rest.trim_start_matches(is_space);
            let mut after = spaces;
            let other = spaces.chars().next().filter(|char| separators.contains(*char));
            if let Some(other) = other {
                if spaces.len() == rest.len() || self.open.is_some() {
                    self.grow(0)?;
                }
                after = spaces[other.len_utf8()..].trim_start_matches(is_space);
            }
            self.separate();
            rest = after;
        }
        Ok(())
    }

    /// Ends the current field, if there is one.
    pub(super) fn separate(&mut self) {
        self.done.extend(self.open.take());
    }

    fn finish(mut self) -> Vec<Field> {
        self.separate();
        self.done
    }

    fn into_one(self) -> Field {
        let mut all = self.finish().into_iter();
        let mut one = all.next().unwrap_or_default();
        for field in all {
            one.text.push(' ');
            one.text.push_str(&field.text);
            one.pattern.push(' ');
            one.pattern.push_str(&field.pattern);
        }
        one
    }
}

impl Shell {
    /// All fields of some words, pathnames expanded: the arguments of a command.
    pub(super) async fn fields(&mut self, words: &[&Word]) -> Expanded<Vec<String>> {
        let mut all = Vec::new();
        for word in words {
            let words = match self.braces && word.value.contains('{') {
                true => braces(&word.value)?,
                false => vec![word.value.clone()],
            };
            for word in words {
                self.word_fields(&word, &mut all).await?;
            }
        }
        Ok(all)
    }

    async fn word_fields(&mut self, word: &str, all: &mut Vec<String>) -> Expanded<()> {
        let separators = Some(self.get("IFS").unwrap_or(" \t\n").to_owned());
        let mut fields = Fields { separators, ..Fields::default() };
        self.pieces(&parse::word(word)?, false, &mut fields).await?;
        for field in fields.finish() {
            if field.special && !self.options.noglob {
                let mut found = self.glob(&field.pattern);
                if !found.is_empty() {
                    all.append(&mut found);
                    continue;
                }
            }
            all.push(field.text);
            if all.len() > MAX_WORDS {
                return Err("Argument list too long".into());
            }
        }
        Ok(())
    }

    /// A word as one text: assignments, redirections, `case`.
    pub(super) async fn text(&mut self, word: &str) -> Expanded<String> {
        Ok(self.single(word).await?.text)
    }

    /// A word as one pattern.
    pub(super) async fn pattern(&mut self, word: &str) -> Expanded<Pattern> {
        Ok(Pattern::new(&self.single(word).await?.pattern))
    }

    pub(super) async fn single(&mut self, word: &str) -> Expanded<Field> {
        let mut fields = Fields::default();
        self.pieces(&parse::word(word)?, false, &mut fields).await?;
        Ok(fields.into_one())
    }

    /// The text of a here-document: expanded as in double quotes, where `"` is an ordinary character.
    pub(super) async fn here_document(&mut self, text: &str) -> Expanded<String> {
        self.text(&quote_document(text)).await
    }

    /// Pushes pieces; boxed because parameters and substitutions hold words again.
    pub(super) fn pieces<'a>(
        &'a mut self,
        pieces: &'a [WordPieceWithSource],
        quoted: bool,
        fields: &'a mut Fields,
    ) -> BoxFuture<'a, Expanded<()>> {
        async move {
            for piece in pieces {
                self.piece(&piece.piece, quoted, fields).await?;
            }
            Ok(())
        }
        .boxed()
    }

    async fn piece(
        &mut self,
        piece: &WordPiece,
        quoted: bool,
        fields: &mut Fields,
    ) -> Expanded<()> {
        match piece {
            WordPiece::Text(text) if quoted => fields.quoted(&text.replace("\\\n", "")),
            WordPiece::Text(text) => fields.literal(text),
            WordPiece::SingleQuotedText(text) => fields.quoted(text),
            WordPiece::AnsiCQuotedText(text) => {
                fields.quoted(&super::commands::text::unescape(text, false).0)
            }
            WordPiece::DoubleQuotedSequence(pieces)
            | WordPiece::GettextDoubleQuotedSequence(pieces) => {
                if !(self.parameters.is_empty() && is_all_parameters(pieces)) {
                    fields.quoted("")?;
                }
                self.pieces(pieces, true, fields).await
            }
            WordPiece::TildePrefix(user) => match (user.as_str(), self.get("HOME")) {
                ("", home) => fields.quoted(home.unwrap_or("/root")),
                ("root", _) => fields.quoted("/root"),
                (other, _) => fields.literal(&format!("~{other}")),
            },
            WordPiece::ParameterExpansion(expression) => {
                self.parameter(expression, quoted, fields).await
            }
            WordPiece::CommandSubstitution(script)
            | WordPiece::BackquotedCommandSubstitution(script) => {
                let output = self.substitute(script).await?;
                if quoted { fields.quoted(&output) } else { fields.expanded(&output) }
            }
            WordPiece::EscapeSequence(text) => {
                let char = text.strip_prefix('\\').unwrap_or(text);
                fields.quoted(if char == "\n" { "" } else { char })
            }
            WordPiece::ArithmeticExpression(expression) => {
                let text = self.arithmetic_text(&expression.value).await?;
                let value = self.arithmetic(&text)?.to_string();
                if quoted { fields.quoted(&value) } else { fields.expanded(&value) }
            }
        }
    }

    /// Expands the `$` parts of an arithmetic expression.
    pub(super) async fn arithmetic_text(&mut self, text: &str) -> Expanded<String> {
        match text.contains(['$', '`', '"']) {
            true => self.text(&quote_document(&text.replace('"', ""))).await,
            false => Ok(text.to_owned()),
        }
    }

    /// `$(…)`: runs a script in a subshell and takes its output without trailing line feeds.
    async fn substitute(&mut self, script: &str) -> Expanded<String> {
        let mut shell = self.subshell();
        let (output, captured) = Output::capture(EXPANSION_LIMIT);
        shell.streams.set(1, super::redirect::Stream::Out(output));
        let status = match shell.source(script).await {
            Ok(status) | Err(Stop::Exit(status) | Stop::Return(status)) => status,
            Err(Stop::Break(_) | Stop::Continue(_)) => 0,
            Err(stop @ Stop::Abort(_)) => return Err(Failure::Stop(stop)),
        };
        self.substituted = Some(status);
        let bytes = captured.take();
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.trim_end_matches('\n').replace('\0', ""))
    }

    /// The files that a pattern names, sorted; none when nothing fits.
    fn glob(&self, text: &str) -> Vec<String> {
        let absolute = text.starts_with('/');
        let mut found = vec![if absolute { "/".to_owned() } else { String::new() }];
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
        for (index, part) in parts.iter().enumerate() {
            let last = index + 1 == parts.len();
            let mut next = Vec::new();
            for base in &found {
                if !Pattern::is_special(part) {
                    let path = format!("{base}{}", unescape_pattern(part));
                    if self.context.files.symlink_metadata(&self.path(&path)).is_ok() {
                        next.push(path);
                    }
                    continue;
                }
                let pattern = Pattern::new(part);
                let directory = if base.is_empty() { "." } else { base };
                let entries = self.context.files.read_dir(&self.path(directory));
                for entry in entries.unwrap_or_default() {
                    let hidden = entry.name.starts_with('.') && !part.starts_with('.');
                    if !hidden && pattern.matches(&entry.name) {
                        next.push(format!("{base}{}", entry.name));
                    }
                }
                if next.len() > MAX_WORDS {
                    return Vec::new();
                }
            }
            let directories_only = !last || text.ends_with('/');
            if directories_only {
                next.retain(|path| self.context.files.is_dir(&self.path(path)));
                next.iter_mut().for_each(|path| path.push('/'));
            }
            found = next;
        }
        found.sort();
        found
    }
}

fn unescape_pattern(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => plain.extend(chars.next()),
            other => plain.push(other),
        }
    }
    plain
}

/// Whether the pieces are exactly `$@`.
fn is_all_parameters(pieces: &[WordPieceWithSource]) -> bool {
    let [piece] = pieces else { return false };
    matches!(
        &piece.piece,
        WordPiece::ParameterExpansion(ParameterExpr::Parameter {
            parameter: Parameter::Special(SpecialParameter::AllPositionalParameters {
                concatenate: false
            }),
            indirect: false,
        })
    )
}

/// Puts a text in double quotes such that `"` outside of substitutions is an ordinary character.
fn quote_document(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    let mut chars = text.chars().peekable();
    let mut parens = 0;
    let mut backquoted = false;
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some('"') if parens == 0 && !backquoted => quoted.push_str("\\\\\\\""),
                Some(next) => {
                    quoted.push('\\');
                    quoted.push(next);
                }
                None => quoted.push_str("\\\\"),
            },
            '"' if parens == 0 && !backquoted => quoted.push_str("\\\""),
            '`' => {
                backquoted = !backquoted;
                quoted.push(char);
            }
            '$' if chars.peek() == Some(&'(') => {
                chars.next();
                parens += 1;
                quoted.push_str("$(");
            }
            '(' if parens > 0 => {
                parens += 1;
                quoted.push(char);
            }
            ')' if parens > 0 => {
                parens -= 1;
                quoted.push(char);
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// bash's `{a,b}` and `{1..3}`.
fn braces(word: &str) -> Expanded<Vec<String>> {
    let options = brush_parser::ParserOptions::default();
    let parsed = brush_parser::word::parse_brace_expansions(word, &options);
    let Ok(Some(parts)) = parsed else { return Ok(vec![word.to_owned()]) };
    product(&parts)
}

fn product(parts: &[BraceExpressionOrText]) -> Expanded<Vec<String>> {
    let mut words = vec![String::new()];
    for part in parts {
        let choices = match part {
            BraceExpressionOrText::Text(text) => vec![text.clone()],
            BraceExpressionOrText::Expr(members) => {
                let mut choices = Vec::new();
                for member in members {
                    choices.extend(member_words(member)?);
                }
                choices
            }
        };
        if words.len().saturating_mul(choices.len()) > MAX_WORDS {
            return Err("Argument list too long".into());
        }
        words = words
            .iter()
            .flat_map(|word| choices.iter().map(move |choice| format!("{word}{choice}")))
            .collect();
    }
    Ok(words)
}

fn member_words(member: &BraceExpressionMember) -> Expanded<Vec<String>> {
    match member {
        BraceExpressionMember::Child(parts) => product(parts),
        BraceExpressionMember::NumberSequence { start, end, increment } => {
            let range = sequence(*start, *end, *increment)?;
            Ok(range.map(|number| number.to_string()).collect())
        }
        BraceExpressionMember::CharSequence { start, end, increment } => {
            let range = sequence(i64::from(*start as u32), i64::from(*end as u32), *increment)?;
            Ok(range
                .filter_map(|code| char::from_u32(u32::try_from(code).ok()?))
                .map(String::from)
                .collect())
        }
    }
}

fn sequence(start: i64, end: i64, step: i64) -> Expanded<impl Iterator<Item = i64>> {
    let step = step.unsigned_abs().max(1);
    let count = start.abs_diff(end) / step + 1;
    if count > MAX_WORDS as u64 {
        return Err("Argument list too long".into());
    }
    let sign = if start <= end { 1 } else { -1 };
    let step = i64::try_from(step).unwrap_or(i64::MAX);
    let numbers = 0..i64::try_from(count).unwrap_or(0);
    Ok(numbers.map(move |index| start.wrapping_add(sign * index.wrapping_mul(step))))
}
