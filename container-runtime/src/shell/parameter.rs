//! `$x` and `${x…}`.

use brush_parser::word::{
    Parameter, ParameterExpr, ParameterTestType, SpecialParameter, SubstringMatchKind,
};

use super::expand::{Expanded, Failure, Fields};
use super::parse;
use super::pattern::Pattern;
use super::state::{Shell, Stop, is_name};

/// Value of a parameter.
enum Value {
    One(String),
    /// `$@` or `$*` (`joined`).
    All {
        joined: bool,
    },
}

impl Shell {
    pub(super) async fn parameter(
        &mut self,
        expression: &ParameterExpr,
        quoted: bool,
        fields: &mut Fields,
    ) -> Expanded<()> {
        use ParameterExpr as P;
        match expression {
            P::Parameter { parameter, indirect } => {
                let value = self.value(parameter, *indirect)?;
                if value.is_none() && self.options.nounset {
                    return Err(format!("{}: parameter not set", name_of(parameter)).into());
                }
                self.push(value, quoted, fields)
            }
            P::UseDefaultValues { parameter, indirect, test_type, default_value } => {
                match self.present(parameter, *indirect, test_type)? {
                    Some(value) => self.push(Some(value), quoted, fields),
                    None => self.push_word(default_value.as_deref(), quoted, fields).await,
                }
            }
            P::AssignDefaultValues { parameter, indirect, test_type, default_value } => {
                if let Some(value) = self.present(parameter, *indirect, test_type)? {
                    return self.push(Some(value), quoted, fields);
                }
                let Parameter::Named(name) = parameter else {
                    return Err(format!("{}: bad variable name", name_of(parameter)).into());
                };
                let text = self.text(default_value.as_deref().unwrap_or_default()).await?;
                self.set(name, text.clone())?;
                self.push(Some(Value::One(text)), quoted, fields)
            }
            P::IndicateErrorIfNullOrUnset { parameter, indirect, test_type, error_message } => {
                if let Some(value) = self.present(parameter, *indirect, test_type)? {
                    return self.push(Some(value), quoted, fields);
                }
                let message = match error_message {
                    Some(message) => self.text(message).await?,
                    None => match test_type {
                        ParameterTestType::UnsetOrNull => "parameter null or not set".to_owned(),
                        ParameterTestType::Unset => "parameter not set".to_owned(),
                    },
                };
                Err(format!("{}: {message}", name_of(parameter)).into())
            }
            P::UseAlternativeValue { parameter, indirect, test_type, alternative_value } => {
                match self.present(parameter, *indirect, test_type)? {
                    Some(_) => self.push_word(alternative_value.as_deref(), quoted, fields).await,
                    None => Ok(()),
                }
            }
            P::ParameterLength { parameter, indirect } => {
                let length = match self.value(parameter, *indirect)? {
                    Some(Value::One(text)) => text.chars().count(),
                    Some(Value::All { .. }) => self.parameters.len(),
                    None => 0,
                };
                self.push(Some(Value::One(length.to_string())), quoted, fields)
            }
            P::RemoveSmallestSuffixPattern { parameter, indirect, pattern } => {
                let cut = Cut { suffix: true, longest: false };
                self.cut(parameter, *indirect, pattern.as_deref(), cut, quoted, fields).await
            }
            P::RemoveLargestSuffixPattern { parameter, indirect, pattern } => {
                let cut = Cut { suffix: true, longest: true };
                self.cut(parameter, *indirect, pattern.as_deref(), cut, quoted, fields).await
            }
            P::RemoveSmallestPrefixPattern { parameter, indirect, pattern } => {
                let cut = Cut { suffix: false, longest: false };
                self.cut(parameter, *indirect, pattern.as_deref(), cut, quoted, fields).await
            }
            P::RemoveLargestPrefixPattern { parameter, indirect, pattern } => {
                let cut = Cut { suffix: false, longest: true };
                self.cut(parameter, *indirect, pattern.as_deref(), cut, quoted, fields).await
            }
            P::Substring { parameter, indirect, offset, length } => {
                let text: Vec<char> = self.scalar(parameter, *indirect)?.chars().collect();
                let offset = self.arithmetic_text(&offset.value).await?;
                let offset = self.arithmetic(&offset)?;
                let length = match length {
                    Some(length) => {
                        let length = self.arithmetic_text(&length.value).await?;
                        Some(self.arithmetic(&length)?)
                    }
                    None => None,
                };
                let part = substring(&text, offset, length);
                self.push(Some(Value::One(part)), quoted, fields)
            }
            P::ReplaceSubstring { parameter, indirect, pattern, replacement, match_kind } => {
                let text = self.scalar(parameter, *indirect)?;
                let pattern = self.pattern(pattern).await?;
                let replacement = self.text(replacement.as_deref().unwrap_or_default()).await?;
                let replaced = replace(&text, &pattern, &replacement, match_kind);
                self.push(Some(Value::One(replaced)), quoted, fields)
            }
            P::UppercaseFirstChar { parameter, indirect, pattern: None } => {
                let text = self.scalar(parameter, *indirect)?;
                let mut chars = text.chars();
                let upper: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
                let text = format!("{upper}{}", chars.as_str());
                self.push(Some(Value::One(text)), quoted, fields)
            }
            P::UppercasePattern { parameter, indirect, pattern: None } => {
                let text = self.scalar(parameter, *indirect)?.to_uppercase();
                self.push(Some(Value::One(text)), quoted, fields)
            }
            P::LowercasePattern { parameter, indirect, pattern: None } => {
                let text = self.scalar(parameter, *indirect)?.to_lowercase();
                self.push(Some(Value::One(text)), quoted, fields)
            }
            _ => Err("syntax error: bad substitution".into()),
        }
    }

    fn value(&self, parameter: &Parameter, indirect: bool) -> Expanded<Option<Value>> {
        let value = match parameter {
            Parameter::Positional(0) => Some(self.name.clone()),
            Parameter::Positional(number) => {
                let index = usize::try_from(*number).unwrap_or(usize::MAX) - 1;
                self.parameters.get(index).cloned()
            }
            Parameter::Named(name) if name == "RANDOM" => {
                Some((self.context.clock.random_u64() % 32768).to_string())
            }
            Parameter::Named(name) => self.get(name).map(str::to_owned),
            Parameter::Special(special) => match special {
                SpecialParameter::AllPositionalParameters { concatenate } => {
                    return Ok(Some(Value::All { joined: *concatenate }));
                }
                SpecialParameter::PositionalParameterCount => {
                    Some(self.parameters.len().to_string())
                }
                SpecialParameter::LastExitStatus => Some(self.status.to_string()),
                SpecialParameter::CurrentOptionFlags => Some(self.flags()),
                SpecialParameter::ProcessId => Some(self.context.pid.to_string()),
                SpecialParameter::LastBackgroundProcessId => {
                    self.last_background.map(|pid| pid.to_string())
                }
                SpecialParameter::ShellName => Some(self.name.clone()),
            },
            Parameter::NamedWithIndex { .. } | Parameter::NamedWithAllIndices { .. } => {
                return Err("arrays are not supported".into());
            }
        };
        match (indirect, value) {
            (true, Some(name)) if is_name(&name) => {
                Ok(self.get(&name).map(|value| Value::One(value.to_owned())))
            }
            (true, _) => Err("syntax error: bad substitution".into()),
            (false, value) => Ok(value.map(Value::One)),
        }
    }

    fn flags(&self) -> String {
        let options = &self.options;
        let flags = [
            (options.errexit, 'e'),
            (options.noglob, 'f'),
            (options.nounset, 'u'),
            (options.xtrace, 'x'),
        ];
        flags.iter().filter(|(set, _)| *set).map(|(_, flag)| *flag).collect()
    }

    /// The value if it is set and, where asked for, not empty.
    fn present(
        &self,
        parameter: &Parameter,
        indirect: bool,
        test: &ParameterTestType,
    ) -> Expanded<Option<Value>> {
        let value = self.value(parameter, indirect)?;
        let null = matches!(test, ParameterTestType::UnsetOrNull);
        Ok(value.filter(|value| match value {
            Value::One(text) => !(null && text.is_empty()),
            Value::All { .. } => {
                let empty = self.parameters.iter().all(String::is_empty);
                !(self.parameters.is_empty() || (null && empty))
            }
        }))
    }

    fn scalar(&self, parameter: &Parameter, indirect: bool) -> Expanded<String> {
        match self.value(parameter, indirect)? {
            Some(Value::One(text)) => Ok(text),
            Some(Value::All { .. }) => Ok(self.parameters.join(" ")),
            None if self.options.nounset => {
                Err(format!("{}: parameter not set", name_of(parameter)).into())
            }
            None => Ok(String::new()),
        }
    }

    fn push(&self, value: Option<Value>, quoted: bool, fields: &mut Fields) -> Expanded<()> {
        match value {
            None => Ok(()),
            Some(Value::One(text)) if quoted => fields.quoted(&text),
            Some(Value::One(text)) => fields.expanded(&text),
            Some(Value::All { joined: true }) if quoted => {
                let separator = match self.get("IFS") {
                    Some(ifs) => ifs.chars().next().map(String::from).unwrap_or_default(),
                    None => " ".to_owned(),
                };
                fields.quoted(&self.parameters.join(&separator))
            }
            Some(Value::All { .. }) => {
                for (index, parameter) in self.parameters.iter().enumerate() {
                    if index > 0 {
                        match fields.splitting() {
                            true => fields.separate(),
                            false => fields.quoted(" ")?,
                        }
                    }
                    if quoted { fields.quoted(parameter) } else { fields.expanded(parameter) }?;
                }
                Ok(())
            }
        }
    }

    /// Pushes the word after `:-` and `:+`.
    async fn push_word(
        &mut self,
        word: Option<&str>,
        quoted: bool,
        fields: &mut Fields,
    ) -> Expanded<()> {
        let Some(word) = word else { return Ok(()) };
        self.depth += 1;
        if self.depth > super::MAX_DEPTH {
            return Err(Failure::Stop(Stop::Abort(2)));
        }
        let pieces = parse::word(word)?;
        let pushed = self.pieces(&pieces, quoted, fields).await;
        self.depth -= 1;
        pushed
    }

    async fn cut(
        &mut self,
        parameter: &Parameter,
        indirect: bool,
        pattern: Option<&str>,
        cut: Cut,
        quoted: bool,
        fields: &mut Fields,
    ) -> Expanded<()> {
        let text: Vec<char> = self.scalar(parameter, indirect)?.chars().collect();
        let pattern = self.pattern(pattern.unwrap_or_default()).await?;
        let kept = match cut.suffix {
            true => &text[..pattern.suffix(&text, cut.longest).unwrap_or(text.len())],
            false => &text[pattern.prefix(&text, cut.longest).unwrap_or(0)..],
        };
        self.push(Some(Value::One(kept.iter().collect())), quoted, fields)
    }
}

/// `#`, `##`, `%`, `%%`.
#[derive(Clone, Copy)]
struct Cut {
    suffix: bool,
    longest: bool,
}

fn name_of(parameter: &Parameter) -> String {
    match parameter {
        Parameter::Named(name) => name.clone(),
        Parameter::Positional(number) => number.to_string(),
        Parameter::NamedWithIndex { name, .. } | Parameter::NamedWithAllIndices { name, .. } => {
            name.clone()
        }
        Parameter::Special(special) => match special {
            SpecialParameter::AllPositionalParameters { concatenate: true } => "*",
            SpecialParameter::AllPositionalParameters { concatenate: false } => "@",
            SpecialParameter::PositionalParameterCount => "#",
            SpecialParameter::LastExitStatus => "?",
            SpecialParameter::CurrentOptionFlags => "-",
            SpecialParameter::ProcessId => "$",
            SpecialParameter::LastBackgroundProcessId => "!",
            SpecialParameter::ShellName => "0",
        }
        .to_owned(),
    }
}

fn substring(text: &[char], offset: i64, length: Option<i64>) -> String {
    let size = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let start = if offset < 0 { (size + offset).max(0) } else { offset.min(size) };
    let end = match length {
        None => size,
        Some(length) if length < 0 => (size + length).max(start),
        Some(length) => start.saturating_add(length).min(size),
    };
    let index = |position: i64| usize::try_from(position).unwrap_or(0);
    text[index(start)..index(end)].iter().collect()
}

fn replace(text: &str, pattern: &Pattern, with: &str, kind: &SubstringMatchKind) -> String {
    let chars: Vec<char> = text.chars().collect();
    let join = |before: &[char], after: &[char]| {
        let (before, after): (String, String) = (before.iter().collect(), after.iter().collect());
        format!("{before}{with}{after}")
    };
    match kind {
        SubstringMatchKind::Prefix => match pattern.prefix(&chars, true) {
            Some(end) => join(&[], &chars[end..]),
            None => text.to_owned(),
        },
        SubstringMatchKind::Suffix => match pattern.suffix(&chars, true) {
            Some(start) => join(&chars[..start], &[]),
            None => text.to_owned(),
        },
        SubstringMatchKind::FirstOccurrence | SubstringMatchKind::Anywhere => {
            let once = matches!(kind, SubstringMatchKind::FirstOccurrence);
            let mut result = String::new();
            let mut at = 0;
            while at < chars.len() {
                let rest = &chars[at..];
                match pattern.prefix(rest, true).filter(|length| *length > 0) {
                    Some(length) => {
                        result.push_str(with);
                        at += length;
                        if once {
                            break;
                        }
                    }
                    None => {
                        result.push(chars[at]);
                        at += 1;
                    }
                }
            }
            result.extend(&chars[at..]);
            result
        }
    }
}
